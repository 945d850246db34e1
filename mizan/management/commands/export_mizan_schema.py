"""`python manage.py export_mizan_schema [--output FILE] [--base-url /api/mizan/]`"""

from typing import Any

from django.core.management.base import CommandError

from mizan.channels import registry as channels
from mizan.declare.compiled import view_urls
from mizan.declare.conf import conf
from mizan.declare.schema import dump, openapi
from mizan.forms.declared import describe_forms
from mizan.management.exporting import ExportCommand, base_of
from mizan_core import registry
from mizan_core.registry import RegistryError


class Command(ExportCommand):
    """Writes the OpenAPI document: the same bytes for the same declarations."""

    help = "Writes the declared functions as an OpenAPI 3.1 document, for generators of clients."

    def handle(self, *args: Any, **options: Any) -> None:
        base = base_of(options)
        try:
            sections = {
                "forms": describe_forms(registry.default),
                "channels": channels.describe_channels(channels.default),
            }
            document = openapi(
                registry.default, base=base, release=conf().release, view_urls=view_urls(), sections=sections
            )
        except RegistryError as error:
            raise CommandError(str(error)) from None
        self.warn_of_nothing(registry.default)
        self.write(dump(document), options["output"])
