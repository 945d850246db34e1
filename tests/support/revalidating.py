"""An origin that is asked whether what it said still holds. RFC 9111 section 4.3."""

from collections.abc import Callable

from tests.support.origin import Asked, Says

TAG = ("ETag", '"v1"')
MODIFIED = ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
STALE = ("Cache-Control", "max-age=0")
FRESH = ("Cache-Control", "max-age=60")
AGED = ("Age", "10")


def confirming(*headers: tuple[str, str], then: tuple[tuple[str, str], ...] = (FRESH,)) -> Callable[[Asked], Says]:
    """An origin that answers conditional requests with a 304 that says `then`, and others with a page."""

    def script(asked: Asked) -> Says:
        if asked.get("If-None-Match") or asked.get("If-Modified-Since"):
            return Says(status=304, headers=list(then))
        return Says("page", headers=list(headers))

    return script
