"""The declared forms: what the schema says of them, and why one with a file is refused."""

from collections.abc import Mapping
from typing import Any

from django import forms

from mizan_core.registry import Registry, RegistryError

FORM = "form"
"""The functions of a form carry its class under this name."""


def refuse_files(name: str, fields: Mapping[str, forms.Field]) -> None:
    """Raises RegistryError where one of the fields of a form takes a file."""
    if taking := [field for field, it in fields.items() if _takes_file(it)]:
        raise RegistryError(
            f"the form {name!r} takes a file in {', '.join(map(repr, taking))}, and calls are JSON: "
            "leave it out of the form, and take the upload in a view of its own, @client(route=...)"
        )


def _takes_file(field: forms.Field) -> bool:
    return isinstance(field, forms.FileField) or field.widget.needs_multipart_form


def fields_of(form: Any) -> Mapping[str, forms.Field]:
    """The fields of a form's class, or of that of a formset's forms, as far as they are known without a request."""
    row = form.form if issubclass(form, forms.BaseFormSet) else form
    return getattr(row, "base_fields", {})


def actual_fields(form: Any) -> Mapping[str, forms.Field]:
    """The fields of a form, or of a formset's row, as they are for one request."""
    fields: Mapping[str, forms.Field] = (form.empty_form if isinstance(form, forms.BaseFormSet) else form).fields
    return fields


def declared_forms(registry: Registry) -> dict[str, Any]:
    """Each declared form's class by its name."""
    suffix = ".schema"
    return {
        spec.name.removesuffix(suffix): getattr(spec.fn, FORM)
        for spec in registry
        if spec.name.endswith(suffix) and hasattr(spec.fn, FORM)
    }


def describe_forms(registry: Registry) -> list[dict[str, Any]]:
    """For the schema: each form by its name, whether it is a formset, and the names of its functions."""
    return [
        {
            "name": name,
            "formset": issubclass(form, forms.BaseFormSet),
            **{verb: f"{name}.{verb}" for verb in ("schema", "validate", "submit")},
        }
        for name, form in sorted(declared_forms(registry).items())
    ]
