"""What the commands that export a document share: where it goes, and where the endpoints are."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import NoReverseMatch, reverse

from mizan_core.compiling import BASE
from mizan_core.registry import Registry


class ExportCommand(BaseCommand):
    """A command with `--output` and `--base-url`."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", metavar="FILE", help="where to write it (default: standard output)")
        parser.add_argument(
            "--base-url",
            metavar="PATH",
            help=f"where mizan.urls is mounted (default: asked of the URLconf, else {BASE})",
        )

    def warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(f"warning: {text}"))

    def warn_of_nothing(self, registry: Registry) -> None:
        if not any(registry):
            self.warn("nothing is declared: does an AppConfig.ready() call mizan_clients(...)?")

    def write(self, data: bytes, output: str | None) -> None:
        """Raises CommandError where the file cannot be written."""
        if not output:
            self.stdout.write(data.decode(), ending="")
            return
        try:
            Path(output).write_bytes(data)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from None


def base_of(options: dict[str, Any]) -> str:
    """What `--base-url` says, or where the site has mounted the endpoints. With the URLconf the site's views are
    imported, and some of them may be declared there."""
    try:
        mounted = reverse("mizan:call").removesuffix("call/")
    except NoReverseMatch:
        mounted = BASE
    return options["base_url"] or mounted
