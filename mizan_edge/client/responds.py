"""What a connection needs of whoever answers its requests."""

from typing import Protocol

from mizan_edge.http.body import Body
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.message import Request
from mizan_edge.origin.exchange import Informational
from mizan_edge.serving.answer import Answer, Later, Left, Then


class Responds(Protocol):
    """What answers requests (`Proxy`). It raises nothing."""

    def answer(
        self,
        request: Request,
        body: Body,
        peer: Peer,
        informational: Informational | None,
        then: Then,
        left: Left | None,
        /,
    ) -> Answer | Later | None:
        """The answer, or what has to be awaited for it; None: `then` gets that later on."""

    def passes(self, request: Request, /) -> Forwarded | None:
        """Why it is forwarded, whatever fields it has."""

    def pass_on(
        self, request: Request, head: bytes, why: Forwarded, informational: Informational | None, then: Then, /
    ) -> Answer | Later | None:
        """As `answer`, for what passes, and is known to leave with this head."""
