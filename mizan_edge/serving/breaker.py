"""When to stop asking a server that does not answer, and when to try again. Pure: the time is an argument.

closed     everything is allowed                              3 failures in a row open it
open       nothing is allowed until `open_until`              its end half-opens it
half-open  one probe is allowed, nothing until it ends        its success closes it, its failure opens it, twice as long
"""

import math

FAILURES = 3
SHORTEST_S = 0.1
LONGEST_S = 2.0


class Breaker:
    """Times are monotonic, in seconds.

    # mutable state: `_failures`, in a row; `_pause_s`, how long the next opening lasts; `_probing`, whether a probe is
    # out; `open_until`.
    """

    def __init__(self) -> None:
        self.open_until = -math.inf
        """Nothing is allowed before; -inf while closed."""
        self._failures = 0
        self._pause_s = SHORTEST_S
        self._probing = False

    def allows(self, now: float) -> bool:
        """Whether the server may be asked now. Half-open, it lets the caller through as the probe, and nobody else."""
        if now < self.open_until:
            return False
        if self._failures >= FAILURES:
            self._probing = True
            # A probe whose caller has left never says how it ended: after this long there may be another.
            self.open_until = now + LONGEST_S
        return True

    def succeeded(self) -> None:
        """The server has answered."""
        self.open_until = -math.inf
        self._failures = 0
        self._pause_s = SHORTEST_S
        self._probing = False

    def failed(self, now: float) -> None:
        """The server has not answered, or could not be reached."""
        self._failures += 1
        # What was asked before it opened may still fail afterwards, and says nothing new.
        if self._failures == FAILURES or self._probing:
            self.open_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_S)
            self._probing = False
