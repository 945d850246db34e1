"""What is told of a request that somebody asks about, as JSON. Pure: what was found is an argument.

Never a derived key, which whoever can write to Redis could use; and no body.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mizan_core.manifest import Manifest
from mizan_core.scopes import term
from mizan_core.store import Entry
from mizan_edge.http.cache_status import Forwarded, Hit, forwarded, hit
from mizan_edge.http.message import members
from mizan_edge.rules import policy, reasons, variants
from mizan_edge.rules.entry import StoredResponse, Written, decode_payload
from mizan_edge.rules.policy import Pass
from mizan_edge.rules.reasons import Reason
from mizan_edge.rules.routes import Resource
from mizan_edge.serving.cache import Found, Reading
from mizan_edge.serving.explaining import Case

NOTHING: Mapping[str, Any] = {
    "partition": None,
    "key": None,
    "varies_by": [],
    "stored": None,
    "not_stored": None,
    "workers": [],
    "entries": [],
    "affects": [],
    "purged_by": {"scopes": [], "mutations": []},
    "last_purge": None,
}
"""What is told where there is nothing to tell."""

_NO_STORE = Forwarded("bypass", "store")


def rfc3339(at_ms: int) -> str:
    """A time of Redis' clock."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def question(case: Case) -> dict[str, Any]:
    """What was asked about."""
    request = case.request
    return {"url": request.target, "method": request.method, "host": request.host, "scheme": request.scheme}


def rule(case: Case) -> dict[str, Any] | None:
    """What of the manifest matched; None where nothing did."""
    resource = _resource(case)
    if resource is None:
        return None
    context = case.site.manifest.contexts[resource.context]
    path = "view" if resource.kind == "view" else "rpc"
    names = [function.name for function in context.functions if function.path == path]
    return {
        "context": resource.context,
        "kind": resource.kind,
        "pattern": resource.function if resource.kind == "view" else case.request.target.partition("?")[0],
        "functions": [resource.function] if resource.kind == "call" else names,
        "scope": context.scope,
        "ttl": context.ttl,
        "swr": context.swr,
        "sie": context.sie,
        "hold": context.hold,
    }


def _resource(case: Case) -> Resource | None:
    """What is asked for, also where it is passed on for whoever asks, or how."""
    if not isinstance(case.planned, Pass):
        return case.planned.lookup.resource
    matched = case.site.router.match(case.request.target) if case.request.method in ("GET", "HEAD") else None
    return matched if isinstance(matched, Resource) else None


def key(reading: Reading, vary: tuple[str, ...]) -> dict[str, Any]:
    """What goes into the key."""
    resource = reading.lookup.resource
    variant = variants.variant_of(reading.request, vary)
    return {
        "context": resource.context,
        "function": resource.function,
        "params": policy.key_params(reading.site.keys, reading.request, reading.lookup),
        "rev": reading.site.manifest.contexts[resource.context].rev,
        "partition": reading.lookup.partition.name,
        "variant": dict(json.loads(variant)) if variant else None,
    }


def passed(planned: Pass) -> dict[str, Any]:
    """What is told of a request that has nothing to do with the cache."""
    affects = planned.affects
    scopes = ["*"] if affects and affects.everything else [str(scope) for scope in affects.scopes] if affects else []
    decision = _decision("pass", forwarded(planned.why), reasons.of_forwarded(planned.why), planned.because)
    return {**NOTHING, "decision": decision, "affects": scopes}


def unusable(reading: Reading, because: str) -> dict[str, Any]:
    """The decision where the cache must not be used now."""
    if policy.only_if_cached(reading.lookup):
        return _decision("refused", None, reasons.NOTHING_CACHED, because)
    return _decision("pass", forwarded(_NO_STORE), reasons.of_forwarded(_NO_STORE), because)


def looked_up(reading: Reading, found: Found, remembered: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The decision about a request that the cache may answer. `remembered`: what each worker has in memory."""
    lookup, stored, now_ms = reading.lookup, found.stored, found.now_ms
    how = policy.at_once(stored, lookup, now_ms) if stored is not None else None
    if stored is not None and how is not None:
        return _hit(how, stored.ttl_s(now_ms), "It lies in Redis.")
    if remembered and all(worker["how"] for worker in remembered):
        return _hit(remembered[0]["how"], remembered[0]["ttl"], "Every worker has it in memory; Redis has not.")
    if policy.only_if_cached(lookup):
        return _decision("refused", None, reasons.NOTHING_CACHED)
    why = policy.why_forwarded(lookup, stored, found.vary, now_ms)
    because = "" if lookup.store else "What the origin answers to it is passed on and not stored."
    return _decision("miss", forwarded(why), reasons.of_forwarded(why), because)


def _hit(how: str, ttl_s: int, because: str) -> dict[str, Any]:
    if ttl_s > 0:
        return _decision("hit", hit(Hit(ttl_s)), reasons.FRESH, because)
    reason = reasons.MEANWHILE if how == "meanwhile" else reasons.WANTED_STALE
    return _decision("stale", hit(Hit(ttl_s)), reason, because)


def _decision(outcome: str, cache_status: str | None, reason: Reason, because: str = "") -> dict[str, Any]:
    return {
        "outcome": outcome,
        "cache_status": cache_status,
        "reason": " ".join(filter(None, (reason.words, because))),
        "section": reason.section,
    }


def stored(found: Found) -> dict[str, Any] | None:
    """The response that was selected."""
    return None if found.stored is None else {**_response(found.stored, found.now_ms), "indexes": list(found.names)}


def entry(of: Entry, now_ms: int, scope: str) -> dict[str, Any] | None:
    """One of the responses of a URL; None for a record that only leads to them. `scope` is that of its context."""
    written = decode_payload(of.payload)
    if not isinstance(written, Written):
        return None
    users = [name.partition(";*user=")[2].strip('"') for name in of.names if ";*user=" in name]
    anybody = "public" if scope == "public" else "anon"
    partition = f"user:{users[0]}" if users else anybody
    return {"partition": partition, **_response(StoredResponse.of_written(written), now_ms), "indexes": list(of.names)}


def _response(response: StoredResponse, now_ms: int) -> dict[str, Any]:
    life = response.lifetime
    return {
        "status": response.response.status,
        "stored_at": rfc3339(response.stored_ms),
        "age": response.age_s(now_ms),
        "ttl": response.ttl_s(now_ms),
        "lifetime": {"ttl": life.ttl_s, "swr": life.swr_s, "sie": life.sie_s, "keep": life.keep_s},
        "took_ms": response.took_ms,
        "size": len(response.body),
        "codings": {coding: len(copy) for coding, copy in sorted((response.encoded or {}).items())},
        "etag": response.response.get("etag"),
        "vary": sorted(members(response.response.get("vary"))),
    }


def purged_by(names: Iterable[str], manifest: Manifest) -> dict[str, Any]:
    """What would purge a response that stands in indexes with these names."""
    names = sorted(names)
    return {"scopes": names, "mutations": list(_mutations(set(names), manifest))}


def _mutations(names: set[str], manifest: Manifest) -> Iterable[dict[str, str]]:
    """The mutations that may purge it, each with the narrowest scope of theirs that does."""
    for name, mutation in sorted(manifest.mutations.items()):
        for affected in mutation.affects:
            if affected.context not in names:
                continue
            values = [_value(affected.context, param, names) for param in sorted(affected.params)]
            # It does not carry what the mutation narrows its purge by.
            if None not in values:
                yield {"mutation": name, "scope": affected.context + "".join(map(str, values))}


def _value(context: str, param: str, names: set[str]) -> str | None:
    """The term by which a parameter narrows a scope to what has these names."""
    true, false = term(param, "true"), term(param, "false")
    for text in (true, false):
        if context + text in names:
            return text
    start = f"{context};{param}="
    return next((name.removeprefix(context) for name in sorted(names) if name.startswith(start)), None)


def scope_text(script_text: str) -> str:
    """A scope as scripts spell it, as people do; "" is everything."""
    return "".join(script_text.split("\n")) or "*"


def refusal(remembered: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Why the latest response was not stored, of what the workers remember."""
    latest = max(
        (worker["not_stored"] for worker in remembered if worker["not_stored"]),
        key=lambda told: told["at_ms"],
        default=None,
    )
    if latest is None:
        return None
    told = dict(latest)
    return {"at": rfc3339(told.pop("at_ms")), **told}


def workers(remembered: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each worker has in memory."""
    return [{"worker": number, "holds": told["holds"], "ttl": told["ttl"]} for number, told in enumerate(remembered)]
