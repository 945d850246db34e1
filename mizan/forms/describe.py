"""Fields and widgets in the words of the schema: what a client needs to show a form, and to check it as one types."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.core import validators
from django.db.models import QuerySet
from django.forms.models import ModelChoiceIteratorValue
from django.forms.widgets import ChoiceWidget
from pydantic import BaseModel

from mizan.forms.kinds import type_of


class FormChoice(BaseModel):
    """One choice. `value` is what the data says for it."""

    value: str | int | float | bool
    label: str


class FormChoiceGroup(BaseModel):
    """Choices under a heading."""

    label: str
    choices: list[FormChoice]


class FormPattern(BaseModel):
    """A regular expression of Python's that the text has to match, anywhere unless it is anchored."""

    source: str
    ignore_case: bool
    message: str


class FormWidget(BaseModel):
    """How Django would show a field."""

    type: str
    """The class of Django's own that it is, or is made from: `Textarea`."""
    input_type: str | None
    """That of an HTML `input`, `select` or none: `email`."""
    hidden: bool
    attrs: dict[str, Any]


class FormField(BaseModel):
    """One field. What is null is not limited, or does not apply."""

    name: str
    type: str
    required: bool
    disabled: bool
    label: str
    help_text: str
    initial: Any
    choices: list[FormChoice | FormChoiceGroup] | None
    """Those that its widget would show."""
    min_length: int | None
    max_length: int | None
    min_value: Any
    max_value: Any
    step: Any
    max_digits: int | None
    decimal_places: int | None
    patterns: list[FormPattern]
    input_formats: list[str] | None
    """In the words of Python's strptime. ISO 8601 is among them unless the field names its own."""
    widget: FormWidget
    parts: list["FormField"] | None
    """The fields of a field of several inputs, whose value is a list."""


class FormSchema(BaseModel):
    """A form as a client shows it, in the language of the request."""

    name: str
    title: str
    submit_label: str
    fields: list[FormField]


class FormSetSchema(BaseModel):
    """A formset: the rows that there are, and what a further one looks like."""

    name: str
    title: str
    submit_label: str
    fields: list[FormField]
    """Those of an empty row."""
    rows: list[dict[str, Any]]
    """The initial values of each row that there is: name -> value."""
    extra: int
    min_num: int
    max_num: int
    can_delete: bool
    can_order: bool


def describe_form(form: Any, texts: dict[str, str]) -> FormSchema:
    """A form that is not bound, in the order of its fields. `texts`: `name`, `title` and `submit_label`."""
    return FormSchema(**texts, fields=_fields(form))


def describe_formset(formset: Any, texts: dict[str, str]) -> FormSetSchema:
    """The same of a formset."""
    there = formset.forms[: formset.initial_form_count()]
    return FormSetSchema(
        **texts,
        fields=_fields(formset.empty_form),
        rows=[{name: _initial(form[name], it) for name, it in form.fields.items()} for form in there],
        extra=formset.extra,
        min_num=formset.min_num,
        max_num=formset.max_num,
        can_delete=formset.can_delete,
        can_order=formset.can_order,
    )


def _fields(form: Any) -> list[FormField]:
    return [_described(form[name], it) for name, it in form.fields.items()]


def _described(bound: Any, it: forms.Field) -> FormField:
    return _field(it, bound.name, str(bound.label), _initial(bound, it), bound.build_widget_attrs(it.widget.attrs))


def _part(it: forms.Field, name: str, attrs: Mapping[str, Any]) -> FormField:
    return _field(it, name, str(it.label or ""), None, attrs)


def _field(it: Any, name: str, label: str, initial: Any, attrs: Mapping[str, Any]) -> FormField:
    limits = _Limits()
    # A value has to please every field of a ComboField.
    for checking in (it, *(it.fields if isinstance(it, forms.ComboField) else ())):
        for validator in checking.validators:
            limits.read(validator)
    formats = getattr(it, "input_formats", None)
    return FormField(
        name=name,
        type=type_of(it),
        required=it.required,
        disabled=it.disabled,
        label=label,
        help_text=str(it.help_text),
        initial=initial,
        choices=list(_choices(it)) if _shows_choices(it) else None,
        **limits.found,
        patterns=limits.patterns,
        input_formats=[str(text) for text in formats] if formats is not None else None,
        widget=_widget(it.widget, attrs),
        parts=_parts(it, name) if isinstance(it, forms.MultiValueField) else None,
    )


def _parts(it: Any, name: str) -> list[FormField]:
    widget = it.widget
    names = getattr(widget, "widgets_names", None)
    if names is None:
        return [_part(part, name, part.widget.attrs) for part in it.fields]
    return [
        _part(part, name + suffix, each.attrs)
        for part, each, suffix in zip(it.fields, widget.widgets, names, strict=False)
    ]


def _widget(widget: Any, attrs: Mapping[str, Any]) -> FormWidget:
    return FormWidget(
        type=next(base.__name__ for base in type(widget).__mro__ if base.__module__ == forms.Widget.__module__),
        input_type=getattr(widget, "input_type", None),
        hidden=widget.is_hidden,
        attrs={str(name): _plain(value) for name, value in attrs.items()},
    )


def _shows_choices(it: forms.Field) -> bool:
    # A hidden input has one value, and the field behind it may know every object there is: a formset's key does.
    return isinstance(it, forms.ChoiceField) and isinstance(it.widget, ChoiceWidget)


def _choices(it: Any) -> Iterator[FormChoice | FormChoiceGroup]:
    for value, label in it.choices:
        if isinstance(label, list | tuple):
            yield FormChoiceGroup(label=str(value), choices=[_choice(*pair) for pair in label])
        else:
            yield _choice(value, label)


def _choice(value: Any, label: Any) -> FormChoice:
    if isinstance(value, ModelChoiceIteratorValue):
        value = value.value  # type: ignore[attr-defined]
    if value is None:
        value = ""  # which is how HTML says it
    # Exactly these: a member of an enum, or a lazy text, is shown as its text.
    return FormChoice(value=value if type(value) in (str, int, float, bool) else str(value), label=str(label))


def _initial(bound: Any, it: Any) -> Any:
    widget = it.widget
    if isinstance(widget, forms.PasswordInput) and not widget.render_value:
        return None  # Django's page would not show it either
    value = it.prepare_value(bound.initial)
    if isinstance(widget, forms.MultiWidget) and not isinstance(value, list):
        value = widget.decompress(value)
    return _plain(value)


_JSON = (str, int, float, Decimal, UUID, date, datetime, time, timedelta, type(None))


def _plain(value: Any) -> Any:
    """A value that has JSON: itself, or its text."""
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() | QuerySet():
            return [_plain(item) for item in value]
        case _:
            return value if isinstance(value, _JSON) else str(value)


def _limit(validator: Any) -> Any:
    limit = validator.limit_value
    return limit() if callable(limit) else limit


@dataclass(slots=True)
class _Limits:
    """What the validators of one field allow, the narrowest of several."""

    found: dict[str, Any] = field(
        default_factory=lambda: dict.fromkeys(
            ("min_length", "max_length", "min_value", "max_value", "step", "max_digits", "decimal_places")
        )
    )
    patterns: list[FormPattern] = field(default_factory=list)

    def read(self, validator: Any) -> None:
        """Takes up what one validator says; of one that is none of Django's own, nothing."""
        match validator:
            case validators.MinLengthValidator():
                self._narrow("min_length", validator, max)
            case validators.MaxLengthValidator():
                self._narrow("max_length", validator, min)
            case validators.MinValueValidator():
                self._narrow("min_value", validator, max)
            case validators.MaxValueValidator():
                self._narrow("max_value", validator, min)
            case validators.StepValueValidator():
                self.found["step"] = _limit(validator)
            case validators.DecimalValidator():
                self.found |= {"max_digits": validator.max_digits, "decimal_places": validator.decimal_places}
            # Not its subclasses: the one of URLs is nothing that a client should have to understand.
            case validators.RegexValidator() if type(validator) is validators.RegexValidator:
                self._pattern(validator)

    def _narrow(self, name: str, validator: Any, narrower: Any) -> None:
        limit, known = _limit(validator), self.found[name]
        self.found[name] = limit if known is None else narrower(limit, known)

    def _pattern(self, validator: Any) -> None:
        if validator.inverse_match:
            return
        regex = validator.regex
        self.patterns.append(
            FormPattern(
                source=regex.pattern,
                ignore_case=bool(regex.flags & re.IGNORECASE),
                message=str(validator.message),
            )
        )
