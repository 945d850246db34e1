"""What goes to a client: heads and bodies, from a stored response, from the origin, or of our own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from mizan_edge.http import conditional, partial
from mizan_edge.http.cache_status import Forwarded, forwarded
from mizan_edge.http.errors import problem
from mizan_edge.http.forwarding import shown, to_client
from mizan_edge.http.message import FieldLines, Fields, Request, Response, lines_of, of_lines
from mizan_edge.memory.prepared import Repeatable
from mizan_edge.origin.exchange import Exchange, Tunnel
from mizan_edge.rules import compression
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.serving.requests import REFUSED, Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the client: a head, and a body that is whole or still arriving."""

    response: Response
    body: bytes | AsyncIterator[bytes]
    outcome: Outcome
    """As what the request is counted."""
    close: Callable[[], None] = lambda: None
    """Gives up whatever of the body has not been read. To be called in the end, in any case."""
    trailers: Callable[[], Fields] = tuple
    """The trailer fields; to be asked for when the body has been read."""
    tunnel: Tunnel | None = None
    """After a 101: the connection to the origin."""
    repeatable: Repeatable | None = None
    """On what it depends, where it may be given again without being decided."""


Later = Callable[[], Awaitable[Answer]]
"""Begins what has to be awaited for an answer."""
Then = Callable[[Answer | Later], None]
"""Gets an answer, or what has to be awaited for it. Raises nothing."""
Left = Callable[[bytes], None]
"""Gets the head with which a request has left for the origin."""


def from_stored(
    request: Request,
    stored: StoredResponse,
    outcome: Outcome,
    cache_status: str,
    *,
    now_ms: int | None,
    compressed: bool,
    forward_mizan_headers: bool,
) -> Answer:
    """A whole response, or the part, the 304 or the head that `request` asks for.

    `now_ms` (Redis' clock) is None for one that has just come from the origin, and has no Age of ours. `compressed`:
    whether it may be one of the copies, where there are any.
    """
    encoded = stored.encoded if compressed else None
    chosen = compression.select(request, stored.response, stored.body, encoded)
    response, body = partial.select(request, *conditional.select(request, *chosen))
    response = to_client(response, forward_mizan_headers=forward_mizan_headers)
    if now_ms is not None:
        response = response.with_fields(("Age", str(stored.age_s(now_ms))), without=["age"])
    return Answer(response.with_fields(("Cache-Status", cache_status)), body, outcome)


def relayed(
    exchange: Exchange,
    outcome: Outcome,
    why: Forwarded,
    *,
    forward_mizan_headers: bool,
    body: AsyncIterator[bytes] | None = None,
) -> Answer:
    """What comes from the origin, as it comes. `body`: where some of it has been read, the whole of it."""
    head = exchange.response
    cache_status = forwarded(why, status=head.status)
    response = _relayed(lines_of(head.fields), head.status, head.reason, cache_status, forward_mizan_headers)
    if body is None and (whole := exchange.whole()) is not None:
        return Answer(response, whole, outcome)

    def trailers() -> Fields:
        return shown(exchange.trailers, forward_mizan_headers=forward_mizan_headers)

    return Answer(response, body or exchange.body(), outcome, exchange.close, trailers, exchange.upgraded)


@of_lines
def _relayed(lines: FieldLines, status: int, reason: str, cache_status: str, forward_mizan_headers: bool) -> Response:
    response = Response(status, lines, reason)
    return to_client(response, ("Cache-Status", cache_status), forward_mizan_headers=forward_mizan_headers)


def refusal(status: int, detail: str, outcome: Outcome = REFUSED, cache_status: str | None = None) -> Answer:
    """A problem document, which nobody keeps."""
    fields = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if cache_status is not None:
        fields.append(("Cache-Status", cache_status))
    return Answer(Response(status, tuple(fields)), problem(status, detail), outcome)
