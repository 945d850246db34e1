"""Formsets: rows of forms, as a JSON array of objects. `binding` says the same of single forms.

What a browser keeps in hidden inputs for Django (how many rows there are, and which of them there were before) is told
here from the rows themselves.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.forms.formsets import DELETION_FIELD_NAME, INITIAL_FORM_COUNT, ORDERING_FIELD_NAME, TOTAL_FORM_COUNT
from django.forms.models import BaseModelFormSet
from pydantic import JsonValue

from mizan.forms.binding import Errors, FormVerdict, check_names, check_text, errors_of, inputs, messages

Rows = Sequence[Mapping[str, JsonValue]]

# Django gives them to some rows and not to others.
_MARKS: dict[str, forms.Field] = {
    DELETION_FIELD_NAME: forms.BooleanField(required=False),
    ORDERING_FIELD_NAME: forms.IntegerField(required=False),
}


class FormSetVerdict(FormVerdict):
    """What a formset says of the rows. `errors` has `__all__` alone, `rows` the errors of each row that was sent."""

    rows: list[Errors]


class BoundFormSet:
    """A formset with the rows that were sent."""

    def __init__(self, cls: Any, kwargs: Mapping[str, Any], rows: Rows) -> None:
        check_text([dict(row) for row in rows])
        draft = cls(**kwargs)
        self._fields: Mapping[str, forms.Field] = {**_MARKS, **draft.empty_form.fields}
        self._order = _order(draft, rows)
        """Of each of the formset's forms, which row it is."""
        self.form = cls(**kwargs, data=self._data(draft, rows))

    def _data(self, draft: Any, rows: Rows) -> dict[str, Any]:
        known = sum(_exists(draft, row) for row in rows) if _of_models(draft) else draft.initial_form_count()
        hidden = draft.management_form
        data: dict[str, Any] = {
            hidden.add_prefix(TOTAL_FORM_COUNT): len(rows),
            hidden.add_prefix(INITIAL_FORM_COUNT): min(known, len(rows)),
        }
        row_form = draft.empty_form
        for position, index in enumerate(self._order):
            row_form.prefix = draft.add_prefix(position)
            data |= inputs(row_form, self._fields, rows[index], ["data", index])
        return data

    def judge(self, only: Collection[str] | None = None) -> FormSetVerdict:
        """What the formset says; with `only`, of some fields of each row, and nothing of rows or the formset as a
        whole. Django cleans it here, and saves nothing."""
        check_names(only, self._fields)
        if _of_models(self.form):
            _refuse_strangers(self.form)
        rows: list[Errors] = [{} for _ in self._order]
        # A row that is to be deleted may be wrong, and where the others are valid nothing is said of it.
        if not self.form.is_valid():
            # Of too many rows, Django makes no forms of the last.
            for index, form in zip(self._order, self.form.forms, strict=False):
                rows[index] = errors_of(form, only)
        whole = messages({NON_FIELD_ERRORS: self.form.non_form_errors()}) if only is None else {}
        return FormSetVerdict(valid=not whole and not any(rows), errors=whole, rows=rows)


def _of_models(draft: Any) -> bool:
    return isinstance(draft, BaseModelFormSet)


def _exists(draft: Any, row: Mapping[str, JsonValue]) -> bool:
    return row.get(draft.model._meta.pk.name) not in (None, "")


def _refuse_strangers(formset: Any) -> None:
    """Makes an error of each row whose key is of no object in the formset's queryset. Django would ignore the row."""
    name = formset.model._meta.pk.name
    for form in formset.initial_forms:
        if form.instance._state.adding and name not in form.errors:
            form.add_error(name, form.fields[name].error_messages["invalid_choice"])


def _order(draft: Any, rows: Rows) -> list[int]:
    """The rows' positions as Django wants them: first those whose object exists."""
    if not _of_models(draft):
        return list(range(len(rows)))
    return sorted(range(len(rows)), key=lambda index: not _exists(draft, rows[index]))
