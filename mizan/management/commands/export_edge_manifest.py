"""`python manage.py export_edge_manifest [--output FILE] [--base-url /api/mizan/]`"""

from typing import Any

from django.core.management.base import CommandError

from mizan.declare.compiled import view_urls
from mizan.declare.conf import conf
from mizan.management.exporting import ExportCommand, base_of
from mizan_core import registry
from mizan_core.compiling import compile_registry
from mizan_core.manifest import dump_manifest
from mizan_core.registry import RegistryError


class Command(ExportCommand):
    """Writes the manifest: the same bytes for the same declarations."""

    help = "Writes the edge manifest: which contexts exist, what belongs to them, and what each mutation affects."

    def handle(self, *args: Any, **options: Any) -> None:
        base = base_of(options)
        try:
            compiled = compile_registry(registry.default, base=base, release=conf().release, view_urls=view_urls())
        except RegistryError as error:
            raise CommandError(str(error)) from None
        for warning in compiled.warnings:
            self.warn(warning)
        self.warn_of_nothing(registry.default)
        self.write(dump_manifest(compiled.document), options["output"])
