"""What is counted of the requests of a connection, and what is told and logged of them (`access`)."""

import time

from mizan_edge.client.access import Access, Account, request_id
from mizan_edge.client.writing import Writing
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.message import Request
from mizan_edge.http.trace import Trace
from mizan_edge.serving.answer import Answer
from mizan_edge.serving.requests import GONE, LEFT, Requests
from mizan_edge.system.histograms import Tally


class Accounting:
    """The request of a connection that is being answered, as it is accounted for.

    # mutable state: when the request was there (`began_s`, by `time.monotonic`), and its `_account` where there is an
    `Access`.
    """

    __slots__ = ("_access", "_account", "_peer", "_requests", "_writing", "began_s")

    def __init__(self, requests: Requests, access: Access | None, peer: Peer, writing: Writing) -> None:
        self._requests = requests
        self._access = access
        self._peer = peer
        self._writing = writing
        self.began_s = 0.0
        self._account: Account | None = None

    def begin(self, head: bytes, id: str) -> Trace | None:
        """A request is here, with its whole head. The span of a trace that begins with it, if one does."""
        if self._access is None:
            return None
        self._account = self._access.begin(head, id, self._peer, self._writing.sent)
        return self._account.trace

    def begin_refused(self) -> None:
        """What is refused may be no request at all, and then nobody was told that it is here."""
        if self._account is None and self._access is not None:
            self.begin(b"", request_id(b"", trusted=False))

    def count(self, answer: Answer, request: Request | None) -> Tally:
        """Counts an answer that is about to begin, unless it is repeated; None: to what was no request."""
        status = LEFT if self._writing.is_closing else answer.response.status
        tally = self._requests.tally(answer.outcome, status)
        tally.count[0] += 1
        now_s = time.monotonic()
        if tally.took is not None:
            tally.took.took(now_s - self.began_s)
        if request is not None:
            self._requests.seen(request.target, answer.outcome, now_s)
        return tally

    def count_left(self) -> None:
        """Counts a request whose client has left before anything was decided."""
        self._requests.tally(GONE, LEFT).count[0] += 1

    def shown(self, answer: Answer) -> Answer:
        """The answer as it is shown to the client."""
        return answer if self._access is None else self._access.shown(answer)

    def answered(self, answer: Answer, start: bytes) -> bytes:
        """The request gets this answer, whose head is `start`; that as it shall go out."""
        if self._access is None or self._account is None:
            return start
        return self._access.answered(self._account, answer, start)

    def is_out(self) -> None:
        """All of the answer went out."""
        if self._account is not None:
            self._account.whole = True

    def end(self) -> None:
        """No more of the answer goes out."""
        if self._access is not None and self._account is not None:
            self._access.end(self._account, self._writing.sent)
            self._account = None
