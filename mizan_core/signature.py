"""A declared function's arguments: the pydantic model that validates them, and how the manifest names their types.

A parameter has a type in the manifest only where everyone who reads its text must read the same value. Whatever else
an annotation does (unions, `Any`, validators that may change the value) leaves it untyped, and calls uncached.
"""

import datetime as dt
import enum
import inspect
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from mizan_core.canonical import ListOf, ParamType, Scalar
from mizan_core.errors import MizanError
from mizan_core.scopes import ScopeError, check_name

_SCALARS: dict[object, Scalar] = {
    int: "integer",
    str: "string",
    bool: "boolean",
    float: "number",
    uuid.UUID: "uuid",
    dt.date: "date",
    dt.datetime: "datetime",
}
# Constraints that refuse values and never change one.
_HARMLESS = (
    annotated_types.Gt,
    annotated_types.Ge,
    annotated_types.Lt,
    annotated_types.Le,
    annotated_types.MultipleOf,
    annotated_types.MinLen,
    annotated_types.MaxLen,
    annotated_types.Interval,
    annotated_types.Len,
)
_REFUSED = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}, and arguments come by name: declare each of them",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}, and nothing says which arguments that may be: declare each of them",
    inspect.Parameter.POSITIONAL_ONLY: "takes {name!r} by position only, and arguments come by name: move the slash",
}


_NO_REQUEST = inspect.Parameter("none", inspect.Parameter.KEYWORD_ONLY)


class SignatureError(MizanError, TypeError):
    """A function whose signature cannot be declared; the text says what to change."""


class ArgumentsError(MizanError, ValueError):
    """Arguments that do not fit. `details` has one {"loc": [...], "msg": str, "type": str} for each problem."""

    def __init__(self, details: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details))
        self.details = details


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a declared function."""

    name: str
    type: ParamType | None
    """None: untyped, see above."""
    is_list: bool
    """Whether a query string gives it as a repeated parameter."""
    absent: bool
    """Whether it is None where it is not given. A response made then does not carry the parameter."""
    nullable: bool
    """Whether it may be None, given or not."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of a function, less the request."""

    parameters: tuple[Parameter, ...]
    model: type[BaseModel]
    """Its fields have the parameters' names as aliases, so that any name is possible."""
    output: Any
    """The return annotation, evaluated where that is possible; `inspect.Signature.empty` where there is none."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(p.name for p in self.parameters)

    @property
    def typed(self) -> bool:
        """Whether every parameter has a type that the manifest can name."""
        return all(p.type is not None for p in self.parameters)

    def bind(self, values: Mapping[str, object]) -> dict[str, Any]:
        """The validated arguments, defaults included. Raises ArgumentsError."""
        try:
            bound = self.model.model_validate(dict(values), by_alias=True, by_name=False)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise ArgumentsError([{**problem, "loc": list(problem["loc"])} for problem in problems]) from None
        return {field.alias or name: getattr(bound, name) for name, field in self.model.model_fields.items()}

    def from_query(self, occurrences: Callable[[str], Sequence[str]]) -> dict[str, object]:
        """What a query string says of the parameters; of one that is no list and given twice, the last counts."""
        values: dict[str, object] = {}
        for parameter in self.parameters:
            if texts := occurrences(parameter.name):
                values[parameter.name] = list(texts) if parameter.is_list else texts[-1]
        return values


def read_signature(fn: Callable[..., Any]) -> Signature:
    """The signature of `fn`, whose first parameter is the request. Raises SignatureError, ScopeError for a name."""
    name = getattr(fn, "__name__", repr(fn))
    request, *rest = [*inspect.signature(fn).parameters.values()] or [_NO_REQUEST]
    if request.kind not in (request.POSITIONAL_ONLY, request.POSITIONAL_OR_KEYWORD):
        raise SignatureError(f"{name}() takes no request: declare it as `def {name}(request, ...)`")
    fields: dict[str, Any] = {}
    parameters = []
    for index, parameter in enumerate(rest):
        if parameter.kind in _REFUSED:
            raise SignatureError(f"{name}() " + _REFUSED[parameter.kind].format(name=parameter.name))
        try:
            check_name(parameter.name)
        except ScopeError as error:
            raise ScopeError(f"in {name}(): {error}") from None
        annotation = _evaluated(fn, name, parameter.name, parameter.annotation)
        described = _described(parameter, annotation)
        parameters.append(described)
        fields[f"arg_{index}"] = _field(name, parameter, annotation, described)
    try:
        model = create_model(f"{name}_arguments", __config__=_CONFIG, **fields)
    except PydanticUserError as error:
        raise SignatureError(f"the arguments of {name}() cannot be validated: {error.message}") from None
    return Signature(tuple(parameters), model, _output(fn))


# NaN and the infinities have no canonical text.
_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


def _evaluated(fn: Callable[..., Any], function: str, name: str, annotation: object) -> object:
    if not isinstance(annotation, str):
        return annotation
    try:
        return _resolve(fn, name, annotation)
    except NameError as error:
        raise SignatureError(
            f"the annotation of {name!r} in {function}() cannot be read ({error}): "
            "define or import what it names before the function, at run time as well"
        ) from None


def _resolve(fn: Callable[..., Any], name: str, annotation: object) -> object:
    # One annotation at a time: that of the request is often importable only for type checkers.
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    return get_type_hints(holder, globalns=getattr(inspect.unwrap(fn), "__globals__", {}), include_extras=True)[name]


def _output(fn: Callable[..., Any]) -> object:
    annotation = inspect.signature(fn).return_annotation
    if not isinstance(annotation, str):
        return annotation
    try:
        return _resolve(fn, "return", annotation)
    except NameError:
        return inspect.Signature.empty


def _described(parameter: inspect.Parameter, annotation: object) -> Parameter:
    inner = _without_none(annotation)
    type_ = None if annotation is parameter.empty else param_type(inner)
    absent = parameter.default is None
    return Parameter(parameter.name, type_, _is_list(inner), absent, absent or _takes_none(annotation))


def _field(function: str, parameter: inspect.Parameter, annotation: object, described: Parameter) -> tuple[Any, Any]:
    if isinstance(parameter.default, FieldInfo):
        raise SignatureError(
            f"the default of {parameter.name!r} in {function}() is a pydantic Field: "
            "write `Annotated[TYPE, Field(...)]` and a plain default"
        )
    type_: Any = Any if annotation is parameter.empty else annotation
    if described.type in ("integer", ListOf("integer")):
        # pydantic takes "5" for an int, and not for a Literal[5] or the enum member whose value is 5.
        type_ = Annotated[type_, BeforeValidator(_integers)]
    default = ... if parameter.default is parameter.empty else parameter.default
    return type_, Field(default, alias=parameter.name)


def _integers(value: object) -> object:
    if isinstance(value, list):
        return [_integers(item) for item in value]
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _takes_none(annotation: object) -> bool:
    annotation = _plain(annotation)
    return get_origin(annotation) in (Union, types.UnionType) and types.NoneType in get_args(annotation)


def _without_none(annotation: object) -> object:
    """`T` for `T | None`, however it is written."""
    annotation = _plain(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return members[0] if len(members) == 1 else annotation
    return annotation


def param_type(annotation: object) -> ParamType | None:
    """The manifest's name for a type, None where it has none."""
    annotation = _plain(annotation)
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        scalar = _scalar(_plain(item))
        return ListOf(scalar) if scalar else None
    return _scalar(annotation)


def _is_list(annotation: object) -> bool:
    plain = _plain(annotation)
    return plain is list or get_origin(plain) in (list, set, frozenset, tuple, Sequence)


def _plain(annotation: object) -> object:
    """The type below NewType and harmless constraints."""
    while True:
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) is Annotated and _is_harmless(annotation):
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _is_harmless(annotated: object) -> bool:
    metadata = [
        item
        for extra in get_args(annotated)[1:]
        for item in (_field_metadata(extra) if isinstance(extra, FieldInfo) else [extra])
    ]
    return all(isinstance(item, (*_HARMLESS, str)) for item in metadata)


def _field_metadata(field: FieldInfo) -> list[object]:
    # A default (factory) in the annotation is none of the signature's.
    return [*field.metadata, *([field] if not field.is_required() else [])]


def _scalar(annotation: object) -> Scalar | None:
    if get_origin(annotation) is Literal:
        return _values_type(list(get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        # `_missing_` may find a member for any spelling.
        own_lookup = annotation._missing_.__func__ is not enum.Enum._missing_.__func__  # type: ignore[attr-defined]
        return None if own_lookup else _values_type([member.value for member in annotation])
    try:
        return _SCALARS.get(annotation)
    except TypeError:  # unhashable, so none of ours
        return None


def _values_type(values: list[object]) -> Scalar | None:
    if values and all(type(value) is str for value in values):
        return "string"
    return "integer" if values and all(type(value) is int for value in values) else None
