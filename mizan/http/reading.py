"""Reading a context: what the bundle, a call and a page have in common, from who asks to what the response says."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

from django.http import HttpRequest, HttpResponseBase

from mizan.declare.compiled import compiled
from mizan.request.headers import Dependence, say_dependence, with_validator
from mizan.request.identity import partition
from mizan.request.recording import Recording
from mizan.request.request_mizan import dependence_of
from mizan_core.registry import FunctionSpec
from mizan_core.scopes import Scope
from mizan_core.scoping import depends

logger = logging.getLogger("mizan.cache")


class Reading:
    """One request that reads a context, by one of its functions or by several.

    It watches the request from the start, since what `auth=` looks at counts as well, until `answer()`, or the end of
    the `with` block, or `stop()`.
    """

    def __init__(self, request: HttpRequest, context: str) -> None:
        here = compiled()
        self.request = request
        self.context = context
        self.rules = here.manifest.contexts[context]
        self.scopes: tuple[Scope, ...] | None = None
        """What the declared functions depend on, as of `begin()`; None where that cannot be told."""
        self.partition: str | None = None
        """For whom the read began; None in a public context."""
        self._types = here.coverage[context].types
        self._recording = Recording(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self, calls: Sequence[tuple[FunctionSpec, Mapping[str, Any]]]) -> None:
        """Says what is read: functions with their validated arguments."""
        self.scopes = depends(self.context, calls, self._types)
        self.partition = self._partition()

    def stop(self) -> None:
        """Watches no longer. Twice is the same as once."""
        self._recording.stop()

    def refused(self) -> str | None:
        """Why nobody may keep what was made until now, or None."""
        if self._partition() != self.partition:
            return "who is signed in changed while it was made"
        personal = self._recording.personal()
        return f"{personal} went into it" if personal else None

    def answer(
        self, response: HttpResponseBase, *, refused: str | None = None, own_ttl: bool = True, age_s: int = 0
    ) -> HttpResponseBase:
        """The response with what it says to caches, or a 304. `refused`: why nobody may keep it, whatever went into
        it; for the rest see `Dependence`."""
        self.stop()
        dependence = Dependence(
            rules=self.rules,
            scopes=dependence_of(self.request, self.scopes),
            partition=self._partition(),
            refused=refused or self.refused(),
            own_ttl=own_ttl,
            age_s=age_s,
        )
        if reason := say_dependence(response, dependence):
            logger.debug("no cache may keep the response to %s: %s", self.request.path, reason)
        return with_validator(self.request, response)

    def _partition(self) -> str | None:
        # In a public context nobody looks who asks, or the response would vary by Cookie.
        return partition(self.request) if self.rules.scope == "user" else None
