"""`python -m demo.origin`: prepares the shop (database, first customers, manifest) and serves it with uvicorn."""

import argparse
import os
import sys
from io import StringIO
from pathlib import Path

import django
import uvicorn
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError


def prepare(manifest: Path) -> None:
    """Brings the database up to date, fills it when empty, and exports the manifest to `manifest`."""
    Path(settings.DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)

    from demo.shop.seed import seed  # models exist only after django.setup()

    print("filled the shop" if seed() else "kept the shop as it was", flush=True)
    print(f"{'exported' if export(manifest) else 'kept'} {manifest}", flush=True)


def export(manifest: Path) -> bool:
    """Exports the manifest, in one step, unless the file says the same already. Whether it wrote."""
    text = StringIO()
    call_command("export_edge_manifest", stdout=text)
    fresh = text.getvalue().encode()
    if manifest.exists() and manifest.read_bytes() == fresh:
        return False
    manifest.parent.mkdir(parents=True, exist_ok=True)
    # An edge in another container may be reading it.
    part = manifest.with_name(f".{manifest.name}.{os.getpid()}")
    part.write_bytes(fresh)
    part.replace(manifest)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.origin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--manifest", type=Path, default=Path("manifests/demo.json"), help="where to export to")
    options = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    django.setup()
    try:
        prepare(options.manifest)
    except (OSError, CommandError, DatabaseError) as error:
        sys.exit(f"demo.origin: the shop cannot be prepared: {error}")
    uvicorn.run("demo.asgi:application", host=options.host, port=options.port, lifespan="off")


if __name__ == "__main__":
    main()
