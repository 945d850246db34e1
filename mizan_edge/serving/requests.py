"""Requests that are answered, as they are counted: each once, with its outcome and status, when its answer begins."""

import time
from typing import Literal, NamedTuple

from mizan_edge.http.cache_status import Forwarded
from mizan_edge.serving.popular import Popular
from mizan_edge.system.counters import Counters
from mizan_edge.system.histograms import Histogram, Tally

What = Literal["hit", "stale", "miss", "collapsed", "unstorable", "pass", "failed", "refused", "local", "left"]

NOWHERE = "-"
"""The context of a request for nothing that is declared."""
LEFT = 499
"""The status of an answer whose client had left before it began, as nginx has it."""

_HITS = ("hit", "stale")
_TIMED: dict[What, str] = {
    "hit": "hit_seconds",
    "stale": "hit_seconds",
    "miss": "miss_seconds",
    "collapsed": "miss_seconds",
    "unstorable": "miss_seconds",
}


class Outcome(NamedTuple):
    """What was done with a request.

    hit         a fresh response from the cache answered
    stale       one that was not fresh any more
    miss        it was fetched; `unstored`: something kept it from being stored
    collapsed   it was fetched for another request, and answered this one as well
    unstorable  it was fetched, and may not be stored; the detail says why
    pass        it was forwarded, whatever the cache has; the detail says why
    failed      the origin gave no usable answer, or the edge failed: the detail says which
    refused     it was not served as it stands
    local       the edge itself was asked
    left        its client had left before anything was decided
    """

    what: What
    context: str = NOWHERE
    detail: str = ""


REFUSED = Outcome("refused")
GONE = Outcome("left")


def passed(why: Forwarded) -> Outcome:
    """The outcome of a request that was forwarded."""
    return Outcome("pass", why.context or NOWHERE, why.detail or why.fwd)


def failed(why: Forwarded) -> Outcome:
    """The outcome of a request to which the origin gave no usable answer."""
    return Outcome("failed", why.context or NOWHERE, "origin")


class Requests:
    """The requests that one process has answered.

    # mutable state: `_tallies`, by outcome and status; what is `popular`.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.popular = Popular(time.monotonic())
        self._tallies: dict[tuple[Outcome, int], Tally] = {}

    def tally(self, outcome: Outcome, status: int) -> Tally:
        """Where those of one kind are counted."""
        tally = self._tallies.get((outcome, status))
        if tally is None:
            what, context, detail = outcome
            name = _TIMED.get(what)
            tally = self._tallies[outcome, status] = Tally(
                self._counters.cell("requests", context, what, detail, str(status)),
                Histogram(self._counters, name, context) if name is not None else None,
            )
        return tally

    def sampled(self, head: bytes, times: int, now_s: float) -> None:
        """A hit with this head was repeated; it stands for so many. `now_s`: by a monotonic clock."""
        target = head[: head.find(b"\r\n")].split(b" ")[1]
        self.popular.asked(target.decode("latin-1"), now_s, hit=True, times=times)

    def seen(self, target: str, outcome: Outcome, now_s: float) -> None:
        """Any other request was answered."""
        # The query of what is not declared may be anything, secrets among it.
        shown = target.partition("?")[0] if outcome.context == NOWHERE else target
        self.popular.asked(shown, now_s, hit=outcome.what in _HITS)
