"""Which JSON each field takes.

A browser's form gives texts, and that is what Django's fields and widgets expect. Where JSON says something else that
has an obvious text it becomes that text; where it has none (an object for a name), the call is wrong, not the input.
"""

from typing import Any, Literal

from django import forms
from pydantic import JsonValue

from mizan_core.signature import ArgumentsError

Kind = Literal["text", "number", "boolean", "choice", "choices", "parts", "any"]

_FIELDS: dict[type, tuple[str, Kind]] = {
    forms.Field: ("any", "any"),
    forms.BooleanField: ("boolean", "boolean"),
    forms.CharField: ("string", "text"),
    forms.ChoiceField: ("choice", "choice"),
    forms.ComboField: ("string", "text"),
    forms.DateField: ("date", "text"),
    forms.DateTimeField: ("datetime", "text"),
    forms.DecimalField: ("decimal", "number"),
    forms.DurationField: ("duration", "text"),
    forms.EmailField: ("email", "text"),
    forms.FloatField: ("number", "number"),
    forms.GenericIPAddressField: ("ip", "text"),
    forms.IntegerField: ("integer", "number"),
    forms.JSONField: ("json", "any"),
    forms.ModelMultipleChoiceField: ("choices", "choices"),
    forms.MultipleChoiceField: ("choices", "choices"),
    forms.MultiValueField: ("parts", "parts"),
    forms.NullBooleanField: ("null_boolean", "boolean"),
    forms.SlugField: ("slug", "text"),
    forms.TimeField: ("time", "text"),
    forms.URLField: ("url", "text"),
    forms.UUIDField: ("uuid", "text"),
}
"""A field's class -> the name of its type in the schema, and the JSON that it takes. A subclass is what its nearest
base is."""

_TAKEN: dict[Kind, tuple[tuple[type, ...], str]] = {
    "text": ((str, int, float), "a string"),
    "number": ((int, float, str), "a number"),
    "boolean": ((bool, str), "a boolean"),
    "choice": ((str, int, float, bool), "one of the choices"),
}
_JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def type_of(field: forms.Field) -> str:
    """The name of a field's type."""
    return _row(field)[0]


def kind_of(field: forms.Field) -> Kind:
    """The JSON that a field takes."""
    return _row(field)[1]


def _row(field: forms.Field) -> tuple[str, Kind]:
    return next(_FIELDS[base] for base in type(field).__mro__ if base in _FIELDS)


def taken(field: forms.Field, value: JsonValue, place: list[str | int]) -> Any:
    """A value as the field would get it from a submitted form. Raises ArgumentsError, which names the place."""
    match kind_of(field):
        case _ if value is None:
            return None
        case "any":
            return value
        case "choices":
            return [_scalar("choice", item, [*place, i]) for i, item in enumerate(_items(value, place))]
        case "parts":
            parts = _items(value, place)
            fields = _subfields(field)
            if len(parts) > len(fields):
                raise _problem(place, f"a list of {len(fields)}")
            return [taken(part, item, [*place, i]) for i, (part, item) in enumerate(zip(fields, parts, strict=False))]
        case kind:
            return _scalar(kind, value, place)


def _subfields(field: forms.Field) -> tuple[forms.Field, ...]:
    return tuple(field.fields) if isinstance(field, forms.MultiValueField) else ()


def _items(value: JsonValue, place: list[str | int]) -> list[JsonValue]:
    if not isinstance(value, list):
        raise _problem(place, "a list")
    return value


def _scalar(kind: Kind, value: JsonValue, place: list[str | int]) -> Any:
    types, name = _TAKEN[kind]
    if type(value) not in types:
        raise _problem(place, name)
    # A date's field fails on a number, and a model's takes `true` for the key 1.
    return str(value) if kind in ("text", "choice") else value


def _problem(place: list[str | int], wanted: str) -> ArgumentsError:
    return ArgumentsError([{"loc": place, "msg": f"Input should be {wanted}", "type": "form_value"}])


def named(name: str, field: forms.Field, value: Any) -> dict[str, Any]:
    """What `taken` gave, under the name of the field's input; of a widget of several inputs, under those of each."""
    suffixes = getattr(field.widget, "widgets_names", None)
    if suffixes is not None and isinstance(value, list):
        return {name + suffix: part for suffix, part in zip(suffixes, value, strict=False)}
    return {name: value}


def json_schema(field: forms.Field) -> dict[str, Any]:
    """The JSON Schema of the values that a field takes."""
    match kind_of(field):
        case "any":
            return {}
        case "choices":
            return {"type": ["array", "null"], "items": {"type": _names("choice")}}
        case "parts":
            parts = [json_schema(part) for part in _subfields(field)]
            return {"type": ["array", "null"], "prefixItems": parts, "maxItems": len(parts)}
        case kind:
            return {"type": [*_names(kind), "null"]}


def _names(kind: Kind) -> list[str]:
    return [_JSON_NAMES[type_] for type_ in _TAKEN[kind][0]]
