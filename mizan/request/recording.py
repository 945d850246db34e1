"""Whether more than its partition went into a response: session data, the CSRF token, messages, a CSP nonce."""

from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.messages.storage.session import SessionStorage
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from mizan.request.state import state

_AUTHENTICATION = frozenset({SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY})
# The message storage is asked itself: it looks into the session even where no page shows messages.
_HARMLESS_KEYS = _AUTHENTICATION | {SessionStorage.session_key}
# What SessionMiddleware asks, and what says nothing about the data.
_HARMLESS_ATTRIBUTES = frozenset({"accessed", "modified", "is_empty"})


class _RecordedSession:
    """A session that notices whether anything but authentication is read from it, or anything written to it."""

    def __init__(self, session: Any) -> None:
        self.__dict__["_session"] = session
        self.__dict__["_used"] = False

    def _note(self, key: object) -> Any:
        if key not in _HARMLESS_KEYS:
            self.__dict__["_used"] = True
        return self.__dict__["_session"]

    def get(self, key: str, default: object = None) -> Any:
        return self._note(key).get(key, default)

    async def aget(self, key: str, default: object = None) -> Any:
        return await self._note(key).aget(key, default)

    def has_key(self, key: str) -> bool:
        return key in self._note(key)

    async def ahas_key(self, key: str) -> bool:
        return bool(await self._note(key).ahas_key(key))

    def __contains__(self, key: object) -> bool:
        return key in self._note(key)

    def __getitem__(self, key: str) -> Any:
        return self._note(key)[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._note(None)[key] = value

    def __delitem__(self, key: str) -> None:
        del self._note(None)[key]

    def __iter__(self) -> Any:
        return iter(self._note(None).keys())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._note(SESSION_KEY if name in _HARMLESS_ATTRIBUTES else None), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._note(None), name, value)


class Recording:
    """Watches a request from `__init__` to `stop()`, rendering included."""

    def __init__(self, request: HttpRequest) -> None:
        self._request: Any = request
        self._session = getattr(request, "session", None)
        self._recorded = _RecordedSession(self._session) if self._session is not None else None
        if self._recorded is not None:
            request.session = self._recorded  # type: ignore[assignment]

    def stop(self) -> None:
        """Takes the recording off the request. Twice is the same as once."""
        if self._recorded is not None and self._request.session is self._recorded:
            self._request.session = self._session

    def personal(self) -> str | None:
        """What went into the response beyond its partition and its scopes, or None."""
        request = self._request
        if state(request).stopgap:
            return "a stopgap"
        if self._recorded is not None and self._recorded.__dict__["_used"]:
            return "session data"
        if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
            return "the CSRF token"
        messages = getattr(request, "_messages", None)
        # `_loaded_data` is there once somebody looked whether there are messages.
        if messages is not None and (messages.used or messages.added_new or getattr(messages, "_loaded_data", None)):
            return "messages"
        if any(_evaluated(getattr(request, name, None)) for name in ("_csp_nonce", "csp_nonce")):
            return "a CSP nonce"
        return None


def _evaluated(value: object) -> bool:
    # Both Django's and django-csp's nonces are lazy until a template takes them.
    if isinstance(value, LazyObject):
        return value._wrapped is not empty
    return bool(value)
