"""What the cache's decisions mean, in words, and where the standard says so: for people who ask why."""

from collections.abc import Mapping
from typing import NamedTuple

from mizan_core.fields import PARTITION, SCOPE
from mizan_core.store.replies import StoreReply
from mizan_edge.http.cache_status import Detail, Forward, Forwarded
from mizan_edge.rules.storing import Refusal


class Reason(NamedTuple):
    """A sentence, and the section that it follows; None where the standard leaves it to a cache."""

    words: str
    section: str | None = None


FRESH = Reason("What is stored is fresh.", "RFC 9111 section 4.2")
WANTED_STALE = Reason("What is stored is stale, and the client takes that (max-stale).", "RFC 9111 section 5.2.1.2")
MEANWHILE = Reason(
    "What is stored is stale, and may answer while a fresh response is fetched (stale-while-revalidate).",
    "RFC 5861 section 3",
)
NOTHING_CACHED = Reason(
    "Nothing stored can answer, and the client wants nothing that must be fetched (only-if-cached): 504.",
    "RFC 9111 section 5.2.1.7",
)

_FORWARDED: Mapping[Forward, Reason] = {
    "bypass": Reason("It asks for something else than what is stored, as a part of a page.", "RFC 9211 section 2.2"),
    "method": Reason("Its method is not answered from a cache.", "RFC 9111 section 3"),
    "uri-miss": Reason("Nothing is stored for it.", "RFC 9211 section 2.2"),
    "vary-miss": Reason(
        "Nothing is stored for what it has in the fields that the responses vary by.", "RFC 9111 section 4.1"
    ),
    "stale": Reason("What is stored is stale, and the origin has to be asked.", "RFC 9111 section 4.2.4"),
    "request": Reason(
        "The client's own directives do not let what is stored answer (Cache-Control, Pragma).",
        "RFC 9111 section 5.2.1",
    ),
    "partial": Reason("What is stored is a part of what it asks for.", "RFC 9211 section 2.2"),
}
_BYPASSED: Mapping[Detail, Reason] = {
    "undeclared": Reason("The manifest does not declare it, so it is never cached."),
    "non-canonical": Reason("The application may read it as another value than a purge would name."),
    "credentials": Reason("It cannot be told whom the origin would see, so it is never cached."),
    "store": Reason("The cache must not be used now."),
    "disabled": Reason("The cache is switched off for this context."),
}


def of_forwarded(why: Forwarded) -> Reason:
    """Why a request goes to the origin."""
    return _BYPASSED[why.detail] if why.detail else _FORWARDED[why.fwd]


OF_REFUSAL: Mapping[Refusal, Reason] = {
    "directives": Reason(
        "It may not be kept by a shared cache (no-store, private, or no-cache without a validator).",
        "RFC 9111 section 5.2.2",
    ),
    "lifetime": Reason(
        "Neither it nor the manifest gives it a lifetime with this status, or it was over when it came.",
        "RFC 9111 section 4.2",
    ),
    "status": Reason("Responses with its status are never stored.", "RFC 9111 section 3"),
    "vary": Reason("It varies by who asks, or by everything.", "RFC 9111 section 4.1"),
    "set-cookie": Reason("It sets a cookie, which is for one client.", "RFC 6265 section 3"),
    "stream": Reason("It is a stream of events, which has no end."),
    "partition": Reason(f"The origin answered somebody else than the edge took the request for ({PARTITION})."),
    "scope": Reason(f"What it depends on cannot be told exactly ({SCOPE})."),
    "groups": Reason("It belongs to groups that nobody could invalidate (Cache-Groups).", "RFC 9875 section 2"),
    "authorization": Reason(
        "The request said who asks, and the response does not allow it to be shared.", "RFC 9111 section 3.5"
    ),
    "partial-page": Reason("It is a part of a page, and its Vary does not say so.", "RFC 9111 section 4.1"),
}
"""Why a response is not stored."""

OF_REPLY: Mapping[StoreReply, Reason] = {
    "stored": Reason("It is stored."),
    "incarnation": Reason("Redis lost what it held, or was restarted, while it was fetched."),
    "trimmed": Reason("Its fetch took so long that the purges since then are not known any more."),
    "overtaken": Reason("What it depends on was purged while it was fetched."),
    "changed": Reason("Another response took the place of the one that it confirms."),
    "held": Reason("Its context is held after a purge (hold), or a mutation's outcome is not known yet."),
    "shape": Reason("Another edge, or the origin, has a manifest that says something else of its context."),
    "unadopted": Reason("Redis does not know the manifest yet."),
    "malformed": Reason("Redis could not read it as an entry."),
}
"""What the store says of a response that may be stored."""

TOO_LARGE = Reason("Its body is too large (max_entry_bytes), or took too long to come.")
NOT_STORED = Reason("Redis failed, or another manifest came into use, while it was fetched.")
