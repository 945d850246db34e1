"""System checks: declarations that contradict each other, and settings that do not fit them or each other."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from mizan.cache.memory_bundles import MEMORY_URL
from mizan.cache.model_contexts import rules
from mizan.channels import registry as channels
from mizan.declare.compiled import compiled
from mizan.declare.conf import conf
from mizan.http.mount import import_urlconf
from mizan_core import registry
from mizan_core.merging import slot
from mizan_core.problems import DeclarationsError, Kind, Problem
from mizan_core.registry import target_context
from mizan_core.resolve import check_names
from mizan_core.scopes import ScopeError

MIDDLEWARE = "mizan.middleware.MizanMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


_IDS: dict[Kind, str] = {
    "name": "mizan.E001",
    "type": "mizan.E002",
    "route": "mizan.E003",
    "target": "mizan.E004",
    "merge": "mizan.E005",
    "ignored": "mizan.E006",
    "local": "mizan.E007",
    "manifest": "mizan.E008",
    "url": "mizan.E009",
}


def check_declarations(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.E001 to mizan.E009: every contradiction. Without any, mizan.W002: a `merge=` that only purges."""
    if getattr(settings, "ROOT_URLCONF", None):
        import_urlconf()
    misnamed: list[CheckMessage] = list(map(_error, channels.default.problems()))
    try:
        contexts = compiled().contexts
    except DeclarationsError as error:
        return [*map(_error, error.problems), *misnamed]
    warnings: list[CheckMessage] = [
        Warning(
            f"the result of {spec.name!r} is merged nowhere in the context {target_context(target)!r}, which is purged",
            hint="Name in merge= a function without route= that returns the same type for arguments of the mutation's, "
            "or take affects=.",
            id="mizan.W002",
        )
        for spec in registry.default
        for target in spec.merge
        if slot(spec, target, contexts) is None
    ]
    return misnamed or warnings


def _error(problem: Problem) -> Error:
    return Error(problem.text, hint=f"{problem.hint[0].upper()}{problem.hint[1:]}.", id=_IDS[problem.kind])


def check_model_contexts(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.E031: MIZAN_MODEL_CONTEXTS names what nobody declared. mizan.W032: there is nothing to purge."""
    found: list[CheckMessage] = []
    here = rules()
    try:
        contexts = compiled().manifest.contexts
    except DeclarationsError:
        return []  # said by check_declarations
    for model in here:
        for rule in model.rules:
            try:
                check_names(rule.context, rule.sources, contexts)
            except ScopeError as error:
                label = model.model._meta.label
                found.append(Error(f"MIZAN_MODEL_CONTEXTS[{label!r}]: {error}", id="mizan.E031"))
    if here and not (conf().cache_redis_url or conf().edge_admin_url):
        found.append(
            Warning(
                "MIZAN_MODEL_CONTEXTS is set, and there is no cache to purge: saving one of its models raises an error",
                hint="Set MIZAN_CACHE_REDIS_URL, or MIZAN_EDGE_ADMIN_URL with MIZAN_EDGE_ADMIN_TOKEN.",
                id="mizan.W032",
            )
        )
    return found


def check_cache(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.W033, with --deploy: a cache of which other processes hear nothing."""
    if conf().cache_redis_url != MEMORY_URL:
        return []
    return [
        Warning(
            f"MIZAN_CACHE_REDIS_URL is {MEMORY_URL!r}: each process has a cache of its own, which others cannot purge",
            hint="Give the URL of a Redis, or serve the site from one process only.",
            id="mizan.W033",
        )
    ]


def check_middleware(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.W001: without the middleware the token cookie outlives a sign-out, and comes late after a sign-in.
    mizan.W007: behind sessions, it does not see every response that leaves."""
    if MIDDLEWARE in settings.MIDDLEWARE:
        return _behind_sessions()
    if conf().mwt_secret is None:
        return []
    return [
        Warning(
            "MIZAN_MWT_SECRET is set, and nothing clears the token cookie at sign-out on pages that are not Mizan's",
            hint=f"Put {MIDDLEWARE!r} first into MIDDLEWARE.",
            id="mizan.W001",
        )
    ]


def _behind_sessions() -> list[CheckMessage]:
    installed = list(settings.MIDDLEWARE)
    if SESSIONS not in installed[: installed.index(MIDDLEWARE)]:
        return []
    return [
        Warning(
            "SessionMiddleware stands in front of MizanMiddleware, and answers 400 where a session has ended "
            "meanwhile: what a mutation of that request has changed is not purged then",
            hint=f"Put {MIDDLEWARE!r} first into MIDDLEWARE.",
            id="mizan.W007",
        )
    ]
