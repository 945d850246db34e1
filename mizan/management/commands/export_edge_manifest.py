"""`python manage.py export_edge_manifest [--output FILE] [--base-url /api/mizan/]`"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import NoReverseMatch, reverse

from mizan.conf import conf
from mizan_core.export import BASE, export
from mizan_core.manifest import dump_manifest
from mizan_core.registry import RegistryError, default


class Command(BaseCommand):
    """Writes the manifest: the same bytes for the same declarations."""

    help = "Writes the edge manifest: which contexts exist, what belongs to them, and what each mutation affects."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", metavar="FILE", help="where to write it (default: standard output)")
        parser.add_argument(
            "--base-url",
            metavar="PATH",
            help=f"where mizan.urls is mounted (default: asked of the URLconf, else {BASE})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        base = options["base_url"] or _mounted_at()
        try:
            exported = export(default, base=base, release=conf().release)
        except RegistryError as error:
            raise CommandError(str(error)) from None
        warnings = list(exported.warnings)
        if not any(default):
            warnings.append("nothing is declared: does an AppConfig.ready() call mizan_clients(...)?")
        for warning in warnings:
            self.stderr.write(self.style.WARNING(f"warning: {warning}"))
        data = dump_manifest(exported.document)
        if not options["output"]:
            self.stdout.write(data.decode(), ending="")
            return
        path = Path(options["output"])
        try:
            path.write_bytes(data)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None


def _mounted_at() -> str:
    # The site's views are imported with its URLconf, and some of them may be declared there.
    try:
        return reverse("mizan:call").removesuffix("call/")
    except NoReverseMatch:
        return BASE
