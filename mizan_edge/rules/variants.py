"""Variants: the responses of one resource that differ by fields of the request. RFC 9111 section 4.1.

Fields are normalised in two ways, and only the second may lose anything:

`variant_of`  the text that selects a variant. Values share one where the field's definition says that they mean the
              same: space, case, the order of members with different weights. Members of one weight stay in their
              order, which many applications take for an order of preference. Of a field that is no list with
              weights nothing is known, so every difference counts, that of `a,b` and `a, b` as well.
`narrowed`    the request reduced to what can make a difference to this site. The origin must be asked with what is
              left, and with nothing else: then the response suits everybody whose request comes down to the same.

What cannot be read stays as the client wrote it, and selects a variant of its own.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from mizan_core.keys import variant_text
from mizan_core.manifest import Context
from mizan_edge.http import weighted
from mizan_edge.http.framing import octets
from mizan_edge.http.message import CONDITIONALS, Fields, Request, Response, dropped, lines_of, members, values
from mizan_edge.rules.compression import CODINGS
from mizan_edge.rules.entry import StoredResponse

MAX_VARIANTS = 64
"""How many variants of one resource are kept, for each partition and host; the oldest go first. Whoever sends ever new
values of a field can push out the others of this resource, and no more."""


def variant_of(request: Request, names: tuple[str, ...]) -> str | None:
    """The text that selects among variants which differ by these fields (lower case); None without any."""
    if not names:
        return None
    return variant_text({name: _normalised(name, _as_sent(request, name)) for name in names})


def narrowed(request: Request, languages: Sequence[str] = ()) -> Request:
    """The request with which to look up, and to ask the origin for, what may be stored.

    `Accept-Encoding` comes down to which of `CODINGS` and `identity` the client takes; nobody gets what he refuses.
    Where the site has `languages`, `Accept-Language` comes down to the one of them that RFC 4647 section 3.4 (lookup)
    gives: with `de` and `en`, "de-AT, de;q=0.8, en;q=0.5" is "de". Only the client's ranges are shortened, so a site in
    `pt-BR` alone lists `pt` as well if it wants those who ask for that. Where none is found the field is left out, and
    the origin answers in its own default language, as it does without the field.
    """
    fields = _with(request.fields, "Accept-Encoding", request.get("accept-encoding"), _codings)
    if languages:
        fields = _with(
            fields, "Accept-Language", request.get("accept-language"), lambda value: _lookup(value, languages)
        )
    return request if fields is request.fields else request.with_lines(fields)


# Who asked; anything at all; what a fill does not tell the origin, or tells it otherwise; and what is never the same.
_UNSELECTABLE = frozenset({"*", "cookie", "authorization", "x-request-id", "traceparent", "tracestate"}) | CONDITIONALS


def vary_names(response: Response, scope: str) -> tuple[str, ...] | None:
    """The fields by which a response varies, sorted; None where it may not be stored.

    `scope` is that of its context.
    """
    names = set(members(response.get("vary")))
    if scope == "user":
        names -= {"cookie", "authorization"}  # the partition stands for them
    allowed = response.get("access-control-allow-origin")
    if allowed is not None and allowed.strip() != "*":
        names.add("origin")
    if names & _UNSELECTABLE:
        return None
    return tuple(sorted(names))


def vary_of(stored: StoredResponse, context: Context) -> tuple[str, ...]:
    """The same for a response that is stored."""
    return vary_names(stored.response, context.scope) or ()


def selecting(known: tuple[str, ...], vary: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that select a response that varies by `vary`, beside others that are known to vary by `known`.

    All of them: what lies under a key has been selected by every field that it varies by itself, so no request finds
    it that it does not suit. And a response that omits some, as the one for clients without preferences often does,
    does not take the place of the others.
    """
    return tuple(sorted({*known, *vary}))


def _as_sent(request: Request, name: str) -> str | None:
    """A field's value with a character for each of its bytes: UTF-8 and others may spell the same text."""
    lines = values(request.fields, name)
    return b", ".join(map(octets, lines)).decode("latin-1") if lines else None


def _normalised(name: str, value: str | None) -> str | None:
    if value is None or name not in weighted.FIELDS:
        return value
    read = _readable(value)
    return value if read is None else ", ".join(map(str, read))


def _readable(value: str) -> Sequence[weighted.Member] | None:
    """The members of a list with weights; None where one of them cannot be read."""
    read = weighted.members(value)
    return None if any(member.weight is None for member in read) else read


def _codings(value: str) -> str:
    return _taken(value) if len(value) <= weighted.MAX_LIST else value


@lru_cache(maxsize=1024)
def _taken(value: str) -> str:
    # RFC 9110 section 12.5.3
    if _readable(value) is None:
        return value
    weights = weighted.codings(value)
    others = weights.get("*")
    taken = [coding for coding in CODINGS if weights.get(coding, others or 0) > 0]
    plain = weights.get("identity", 1 if others is None else others) > 0
    if plain:
        return ", ".join(taken) or "identity"
    return ", ".join([*taken, "identity;q=0"]) if taken else value


def _lookup(value: str, languages: Sequence[str]) -> str | None:
    """The language of the site that RFC 4647 section 3.4 gives for a list of ranges; None for none of them."""
    read = _readable(value)
    if read is None:
        return value
    refused = {member.name for member in read if member.weight == 0}
    offered = {language.lower(): language for language in languages if language.lower() not in refused}
    for member in read:
        subtags = member.name.split("-") if member.weight else []
        while subtags:
            if found := offered.get("-".join(subtags)):
                return found
            subtags.pop()
            if subtags and len(subtags[-1]) == 1:  # it introduces what has been cut off
                subtags.pop()
    return None


def _with(fields: Fields, name: str, value: str | None, narrow: Callable[[str], str | None]) -> Fields:
    """The fields with what `narrow` makes of one of them, which has `value`."""
    if value is None or (less := narrow(value)) == value:
        return fields
    lines = lines_of(fields)
    places = lines.names.at[name.lower()]
    if less is not None and len(places) == 1:
        return lines.with_value(places[0], less)
    rest = dropped(fields, [name.lower()])
    return rest if less is None else (*rest, (name, less))
