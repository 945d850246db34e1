"""System checks of forms."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error

from mizan.forms.declared import declared_forms, fields_of, refuse_files
from mizan_core import registry
from mizan_core.registry import RegistryError


def check_forms(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.E010: a form that takes a file. A model's fields are known only when its form's class is complete."""
    found: list[CheckMessage] = []
    for name, form in declared_forms(registry.default).items():
        try:
            refuse_files(name, fields_of(form))
        except RegistryError as error:
            found.append(Error(str(error), obj=form, id="mizan.E010"))
    return found
