"""From JSON to a bound form, and from its errors to JSON."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from django import forms
from pydantic import BaseModel, JsonValue

from mizan.forms.kinds import named, taken
from mizan_core.signature import ArgumentsError

Errors = dict[str, list[str]]
"""A field's name, or `__all__` for the form as a whole -> messages in the language of the request."""


class FormVerdict(BaseModel):
    """What a form says of the data: an answer like any other, with status 200."""

    valid: bool
    errors: Errors


class BoundForm:
    """A form with the data that was sent. What it has no field for is ignored, as Django does."""

    def __init__(self, cls: Any, kwargs: Mapping[str, Any], data: Mapping[str, JsonValue]) -> None:
        check_text(data)
        draft = cls(**kwargs)
        self.form = cls(**kwargs, data=inputs(draft, draft.fields, data, ["data"]))
        # A form may choose its fields by what it is given.
        self.form.data = inputs(self.form, self.form.fields, data, ["data"])

    def judge(self, only: Collection[str] | None = None) -> FormVerdict:
        """What the form says; with `only`, of some fields, and nothing of the form as a whole. Django cleans it here,
        and saves nothing."""
        check_names(only, self.form.fields)
        errors = errors_of(self.form, only)
        return FormVerdict(valid=not errors, errors=errors)


def inputs(
    form: Any, fields: Mapping[str, forms.Field], data: Mapping[str, JsonValue], place: list[str | int]
) -> dict[str, Any]:
    """Data by the names of the inputs that a browser would have sent. Raises ArgumentsError."""
    found: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            found |= named(form.add_prefix(name), field, taken(field, data[name], [*place, name]))
    return found


def check_text(data: JsonValue | Mapping[str, JsonValue]) -> None:
    """Raises ArgumentsError for text that is not Unicode, which JSON can spell and no database takes."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        problem = {"loc": ["data"], "msg": "Input should have no lone surrogates", "type": "form_value"}
        raise ArgumentsError([problem]) from None


def check_names(only: Collection[str] | None, known: Collection[str]) -> None:
    """Raises ArgumentsError for a name that no field has: to say that it is valid would be wrong."""
    if unknown := [name for name in only or () if name not in known]:
        raise ArgumentsError(
            [{"loc": ["fields"], "msg": f"there is no field {name!r}", "type": "form_field"} for name in unknown]
        )


def errors_of(form: Any, only: Collection[str] | None) -> Errors:
    """A form's errors; with `only`, those of some fields."""
    found = messages(form.errors)
    return found if only is None else {name: found[name] for name in found if name in only}


def messages(errors: Mapping[str, Any]) -> Errors:
    """Django's lists of errors as texts."""
    listed = {name: [error["message"] for error in errors[name].get_json_data()] for name in errors}
    return {name: texts for name, texts in listed.items() if texts}
