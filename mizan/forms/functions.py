"""The three functions of a form, declared as by `@client`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, getattr_static, signature, unwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_type_hints

from django import forms
from django.forms.models import BaseModelForm, BaseModelFormSet
from django.http import HttpRequest
from pydantic import JsonValue

from mizan.client import client
from mizan.declare.calling import awaited
from mizan.forms.binding import BoundForm, FormVerdict
from mizan.forms.declared import FORM, actual_fields, fields_of, refuse_files
from mizan.forms.describe import FormSchema, FormSetSchema, describe_form, describe_formset
from mizan.forms.formsets import BoundFormSet, FormSetVerdict
from mizan.forms.kinds import json_schema
from mizan_core.registry import RegistryError

if TYPE_CHECKING:
    from mizan.forms.mixin import mizanFormMeta

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = ("data", "fields")
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class FormSubmission(FormVerdict, Generic[T]):
    """The answer to a submit. `data` is what `on_submit_success` or `on_submit_failure` returned."""

    data: T | None


class FormSetSubmission(FormSetVerdict, Generic[T]):
    """The same for a formset."""

    data: T | None


def declare(cls: Any, meta: "mizanFormMeta") -> None:
    """Registers the three functions of a form or formset class. Raises RegistryError, SignatureError, ScopeError."""
    _check(cls, meta)
    shape = _FORMSET if issubclass(cls, forms.BaseFormSet) else _FORM
    here = _Functions(cls, meta, shape)
    arguments = _arguments(cls, meta)
    data = _parameter("data", Annotated[shape.data, _Described(cls)])
    only = _parameter("fields", list[str] | None, None)
    submission = shape.submission[_concluded(cls)]

    def register(verb: str, run: Any, parameters: Sequence[Parameter], returned: Any, **options: Any) -> None:
        def function(request: HttpRequest, **given: Any) -> Any:
            return run(request, **given)

        request = Parameter("request", Parameter.POSITIONAL_OR_KEYWORD)
        function.__name__ = f"{meta.name}.{verb}"
        function.__qualname__ = f"{cls.__qualname__}.{verb}"
        function.__module__ = cls.__module__
        function.__signature__ = Signature([request, *parameters], return_annotation=returned)  # type: ignore[attr-defined]
        setattr(function, FORM, cls)
        client(auth=meta.auth, **options)(function)

    register("schema", here.schema, arguments, shape.described, context=meta.context)
    register("validate", here.validate, [data, only, *arguments], shape.verdict)
    register("submit", here.submit, [data, *arguments], submission, affects=meta.affects)


def _check(cls: Any, meta: "mizanFormMeta") -> None:
    if not issubclass(cls, forms.BaseForm | forms.BaseFormSet):
        raise RegistryError(
            f"{cls.__qualname__} has a mizanFormMeta and is no form: "
            f"write class {cls.__name__}(mizanFormMixin, forms.Form)"
        )
    if not _NAME.fullmatch(meta.name):
        raise RegistryError(
            f"mizanFormMeta(name={meta.name!r}): a form's name is an ASCII identifier such as 'contact'"
        )
    # The class is not complete yet, and knows the fields that it declares itself. The rest is checked later.
    refuse_files(meta.name, {**fields_of(cls), **cls.__dict__.get("declared_fields", {})})


def _arguments(cls: Any, meta: "mizanFormMeta") -> list[Parameter]:
    """The parameters that `get_init_kwargs` has behind the request."""
    if not isinstance(getattr_static(cls, "get_init_kwargs"), classmethod):
        raise RegistryError(
            f"get_init_kwargs() of the form {meta.name!r} runs before there is a form: make it a @classmethod"
        )
    _, *declared = signature(cls.get_init_kwargs).parameters.values()
    for parameter in declared:
        if parameter.name in _OWN:
            raise RegistryError(
                f"get_init_kwargs() of the form {meta.name!r} has a parameter {parameter.name!r}, which the form's "
                "functions have themselves: give it another name"
            )
    return [
        _parameter(p.name, _evaluated(cls.get_init_kwargs, p.annotation), p.default)
        for p in declared
        if p.kind not in _VARIADIC
    ]


def _parameter(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _concluded(cls: Any) -> Any:
    """The type of a submit's `data`."""
    success, failure = _returned(cls.on_submit_success), _returned(cls.on_submit_failure)
    # A form without a hook for failures has no data then.
    return success if Any in (success, failure) else success | failure


def _returned(hook: Any) -> Any:
    """The return annotation of a hook; Any where there is none, or it cannot be read yet."""
    annotation = _evaluated(hook, signature(hook).return_annotation)
    return Any if annotation is Signature.empty or isinstance(annotation, str) else annotation


def _evaluated(hook: Any, annotation: Any) -> Any:
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, globalns=getattr(unwrap(hook), "__globals__", {}), include_extras=True)["it"]
    except NameError:
        return annotation


class _Described:
    """Lets an export describe the data of a form by its fields, which are not known while its class is made."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        properties = {name: json_schema(field) for name, field in fields_of(self._cls).items()}
        row = {"type": "object", "properties": properties}
        return {"type": "array", "items": row} if issubclass(self._cls, forms.BaseFormSet) else row


@dataclass(frozen=True, slots=True)
class _Shape:
    """What differs between forms and formsets."""

    data: Any
    """The types of what goes in and comes out."""
    described: Any
    verdict: Any
    submission: Any
    bind: Callable[[Any, Mapping[str, Any], Any], BoundForm | BoundFormSet]
    describe: Callable[[Any, dict[str, str]], FormSchema | FormSetSchema]


_FORM = _Shape(dict[str, JsonValue], FormSchema, FormVerdict, FormSubmission, BoundForm, describe_form)
_FORMSET = _Shape(
    list[dict[str, JsonValue]], FormSetSchema, FormSetVerdict, FormSetSubmission, BoundFormSet, describe_formset
)


@dataclass(frozen=True, slots=True)
class _Functions:
    """What the three functions of one form do."""

    cls: Any
    meta: "mizanFormMeta"
    shape: _Shape

    def schema(self, request: HttpRequest, **arguments: Any) -> FormSchema | FormSetSchema:
        form = self.cls(**self._kwargs(request, arguments))
        refuse_files(self.meta.name, actual_fields(form))
        meta = self.meta
        texts = {"name": meta.name, "title": str(meta.title), "submit_label": str(meta.submit_label)}
        return self.shape.describe(form, texts)

    def validate(self, request: HttpRequest, data: Any, fields: list[str] | None, **arguments: Any) -> FormVerdict:
        return self._bound(request, data, arguments).judge(fields)

    def submit(self, request: HttpRequest, data: Any, **arguments: Any) -> FormVerdict:
        bound = self._bound(request, data, arguments)
        verdict, form = bound.judge(), bound.form
        if verdict.valid and isinstance(form, BaseModelForm | BaseModelFormSet):
            form.save()
        conclude = form.on_submit_success if verdict.valid else form.on_submit_failure
        answer: FormVerdict = self.shape.submission[Any](**dict(verdict), data=awaited(conclude(request)))
        return answer

    def _bound(self, request: HttpRequest, data: Any, arguments: Mapping[str, Any]) -> BoundForm | BoundFormSet:
        bound = self.shape.bind(self.cls, self._kwargs(request, arguments), data)
        refuse_files(self.meta.name, actual_fields(bound.form))
        return bound

    def _kwargs(self, request: HttpRequest, arguments: Mapping[str, Any]) -> dict[str, Any]:
        kwargs: dict[str, Any] = awaited(self.cls.get_init_kwargs(request, **arguments))
        return kwargs
