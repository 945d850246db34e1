"""`python manage.py mizan_check [--json] [--output FILE] [--base-url /api/mizan/]`"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from mizan.declare.compiled import view_urls
from mizan.management.exporting import ExportCommand, base_of
from mizan_core import registry
from mizan_core.compiling import compile_registry
from mizan_core.effects import Effects, effects
from mizan_core.registry import RegistryError


class Command(ExportCommand):
    """Prints what each mutation purges, and which contexts no mutation purges."""

    help = (
        "Prints what each mutation purges: contexts, the parameters that narrow them, and URLs; "
        "and which contexts no mutation purges. Fails where declarations contradict each other."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="for programs: one JSON object, always the same bytes")

    def handle(self, *args: Any, **options: Any) -> None:
        base = base_of(options)
        try:
            compiled = compile_registry(registry.default, base=base, view_urls=view_urls())
        except RegistryError as error:
            raise CommandError(str(error)) from None
        found = effects(registry.default, compiled)
        for warning in compiled.warnings:
            self.warn(warning)
        self.warn_of_nothing(registry.default)
        text = json.dumps(found.document(), indent=2, sort_keys=True) if options["json"] else "\n".join(_lines(found))
        self.write(f"{text}\n".encode(), options["output"])


def _lines(found: Effects) -> list[str]:
    lines = []
    for name, scopes in found.mutations.items():
        lines.append(f"{name} purges")
        for scope in scopes:
            lines.append(f"    {scope}")
            lines += [f"        {url}" for url in scope.urls]
    if found.unpurged:
        lines.append("no mutation purges these, so that only purge() and their lifetimes end what is cached of them:")
        lines += [f"    {context}" for context in found.unpurged]
    else:
        lines.append("every context is purged by a mutation")
    return lines
