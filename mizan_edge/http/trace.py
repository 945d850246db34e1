"""Where a request is in a trace (W3C Trace Context), as those see it who begin spans. What a span is, others know."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

Attributes = dict[str, str | int | bool]
Kind = Literal["client", "internal"]


class Trace(Protocol):
    """A span that has begun."""

    def child(self, name: str, kind: Kind, attributes: Attributes) -> "Trace":
        """Another one within it, which begins now."""

    def told(self) -> list[tuple[str, str]]:
        """The fields by which the next server knows that its own spans belong here."""

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        """It ends now."""


def within(trace: Trace | None, name: str) -> AbstractContextManager[None]:
    """A span for as long as the block takes; nothing where there is no trace."""
    return _NOTHING if trace is None else _span(trace, name)


_NOTHING = nullcontext()


@contextmanager
def _span(trace: Trace, name: str) -> Iterator[None]:
    span, failed = trace.child(name, "internal", {}), True
    try:
        yield
        failed = False
    finally:
        span.end({}, failed=failed)
