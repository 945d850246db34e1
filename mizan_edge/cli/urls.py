"""URLs as people and logs spell them, taken apart as the public listener takes apart what it is asked for."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_WHOLE = re.compile(r"(https?)://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)


class WholeUrl(NamedTuple):
    """`http://site.test:8080/a?b`, in its parts."""

    scheme: str
    host: str
    """With its port, where it has one."""
    target: str
    """Its path and query, spelled as they were."""

    @classmethod
    def parse(cls, text: str) -> "WholeUrl":
        """Raises ValueError, which says what is wrong."""
        urlsplit(text).port  # noqa: B018 - raises ValueError for an address or a port that is none
        match = _WHOLE.fullmatch(text)
        if match is None:
            raise ValueError("write it like https://example.com/path/")
        return cls(match[1].lower(), match[2], without_fragment("/" + match[3].removeprefix("/")))


def is_whole(text: str) -> bool:
    """Whether it is meant as a whole URL."""
    return text.lower().startswith(("http://", "https://"))


def without_fragment(target: str) -> str:
    """What of a target is asked for. RFC 9110 section 7.1"""
    return target.partition("#")[0]
