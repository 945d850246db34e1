"""`python -m tests.django.wide.conformance --examples 2000`: schemathesis calls the site by its document alone.

It makes requests that fit the document and requests that do not, as nobody and as a superuser, and checks that no
answer is a 500 and that each is one that the document tells of.
"""

import argparse
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

import django
import hypothesis
import schemathesis
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.django.site.settings import MIDDLEWARE, site_settings

EVERY_KIND_OF_ANSWER = {200, 401, 404, 422}


def main() -> None:
    """Prints how many answers of each status there were. Fails at the first that should not be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=150, help="requests, about")
    parser.add_argument("--seed", type=int, help="for the same requests again (default: others each time)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mizan-conformance-") as home:
        statuses = run(_site(Path(home)), chosen.examples, chosen.seed)
    print(json.dumps({str(status): count for status, count in sorted(statuses.items())}))
    assert sum(statuses.values()) >= chosen.examples, "too few requests were made"
    assert statuses.keys() >= EVERY_KIND_OF_ANSWER, "not every kind of answer was seen"


def _site(home: Path) -> Callable[..., Iterable[bytes]]:
    """The WSGI application, which serves its document as well."""
    ours = {
        "INSTALLED_APPS": [f"django.contrib.{app}" for app in ("auth", "contenttypes", "sessions")] + ["mizan"],
        "MIDDLEWARE": [*MIDDLEWARE[:3], "mizan.middleware.MizanMiddleware"],
        "ROOT_URLCONF": "tests.django.wide.urls",
        "ALLOWED_HOSTS": ["*"],
        "MIZAN_MODEL_CONTEXTS": {},
    }
    settings.configure(**site_settings(home) | ours)
    django.setup()
    logging.getLogger("django.request").setLevel(logging.ERROR)
    from mizan.setup import mizan_clients

    mizan_clients("tests.django.wide")
    call_command("migrate", verbosity=0)
    call_command("export_mizan_schema", output=str(home / "openapi.json"))
    document = (home / "openapi.json").read_bytes()
    site = get_wsgi_application()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/openapi.json":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [document]
        return site(environ, start_response)

    return application


def run(application: Any, examples: int, seed: int | None) -> Counter[int]:
    """How many answers of each status there were, after each was checked."""
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    schema = schemathesis.openapi.from_wsgi("/openapi.json", application)
    statuses: Counter[int] = Counter()
    operations: list[Any] = [cast(Any, result).ok() for result in schema.get_all_operations()]
    # Most of them are calls, since these are most of what there is. Some operations have few different requests.
    rest = 0.4 / (len(operations) - 1)
    shares = {operation: 0.8 if operation.path.endswith("/call/") else rest for operation in operations}
    for operation, share in shares.items():
        for mode, caller in product((GenerationMode.POSITIVE, GenerationMode.NEGATIVE), _callers()):
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # what takes no arguments has no wrong ones
            exercise = _exercise(operation.as_strategy(generation_mode=mode), caller, checks, statuses)
            settled = hypothesis.settings(
                max_examples=max(1, round(examples * share / 4)),
                deadline=None,
                database=None,
                derandomize=seed is None and examples <= 500,
                suppress_health_check=list(hypothesis.HealthCheck),
            )(exercise)
            (hypothesis.seed(seed)(settled) if seed is not None else settled)()
    return statuses


def _exercise(cases: Any, caller: dict[str, Any], checks: Any, statuses: Counter[int]) -> Any:
    @hypothesis.given(cases)
    def exercise(case: Any) -> None:
        response = case.call(**caller)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=checks)

    return exercise


def _callers() -> Iterator[dict[str, Any]]:
    from django.contrib.auth.models import User

    from mizan.declare.conf import keyring
    from mizan.request.identity import permission_key
    from mizan_core.mwt import mint

    keys = keyring()
    assert keys is not None
    user, _ = User.objects.get_or_create(username="root", is_staff=True, is_superuser=True)
    token = mint(keys, sub=str(user.pk), pkey=permission_key(user), now_s=int(time.time()), lifetime_s=3600)
    yield {"headers": {"Authorization": f"Bearer {token}"}}
    yield {"headers": {"X-CSRFToken": "a" * 32}, "cookies": {"csrftoken": "a" * 32}}


if __name__ == "__main__":
    main()
