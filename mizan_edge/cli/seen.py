"""Which requests a list of URLs or an access log names: each line by itself, whatever kind it is of."""

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

# The common and the combined log format, with a `host:port` before it (vhost_combined) or without.
_LOGGED = re.compile(
    r"(?:(?P<host>[A-Za-z0-9.-]+):\d+ (?=\S+ \S+ \S+ \[))?"
    r'\S+ [^\[]*\[[^\]]*\] "(?P<method>[A-Z]+) (?P<target>\S+)(?: HTTP/[0-9.]+)?" (?P<status>\d{3})(?: |$)'
)
# What logs of objects call it: ours and Caddy's (where it stands in `request`), nginx's variables, and others.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "method": ("method", "request_method"),
    "target": ("target", "uri", "request_uri", "url", "path"),
    "host": ("host", "http_host"),
    "status": ("status", "status_code"),
}


class Seen(NamedTuple):
    """A GET that may be answered from the cache."""

    target: str
    host: str | None = None
    """None: the line does not say."""
    scheme: str | None = None
    """Of a line that is a whole URL, which says where it can be asked for."""


class Unreadable(ValueError):
    """A line of no kind that is known."""


def hottest(lines: Iterable[str]) -> tuple[list[Seen], int]:
    """What lines name, each once, the most frequent first, and else in their order; and how many cannot be read."""
    found: Counter[Seen] = Counter()
    unreadable = 0
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        try:
            seen = read(line)
        except Unreadable:
            unreadable += 1
        else:
            if seen is not None:
                found[seen] += 1
    return [seen for seen, _ in found.most_common()], unreadable


def read(line: str) -> Seen | None:
    """What a line names; None where it was no GET, or no success. Raises Unreadable."""
    if line.startswith(("/", "http://", "https://")):
        return _seen("GET", line, None, 200)
    if line.startswith("{"):
        return _of_object(line)
    if match := _LOGGED.match(line):
        return _seen(match["method"], match["target"], match["host"], match["status"])
    raise Unreadable(line)


def _of_object(line: str) -> Seen | None:
    try:
        said = json.loads(line)
    except ValueError:
        raise Unreadable(line) from None
    if isinstance(said.get("request"), dict):
        said = {**said, **said["request"]}
    found: dict[str, Any] = {key: _first(said, names) for key, names in _NAMES.items()}
    if isinstance(said.get("request"), str) and said["request"].count(" ") == 2:
        found["method"], found["target"], _ = said["request"].split(" ")
    return _seen(found["method"], found["target"], found["host"], found["status"])


def _first(said: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)


def _seen(method: Any, url: Any, host: Any, status: Any) -> Seen | None:
    if not isinstance(url, str) or not isinstance(host, str | None):
        raise Unreadable(url)
    try:
        succeeded = 200 <= int(status) < 400
        parts = urlsplit(url)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(url) from None
    if method != "GET" or not succeeded:
        return None
    target = parts._replace(scheme="", netloc="", fragment="").geturl() if parts.scheme else url.partition("#")[0]
    if not target.startswith("/"):
        target = "/" + target
    try:
        # As it was sent, as far as it can be: a list that somebody has typed may have spaces, and letters of all kinds.
        path = quote(target, safe=string.punctuation)
    except UnicodeEncodeError:
        raise Unreadable(url) from None
    return Seen(path, parts.netloc, parts.scheme) if parts.netloc else Seen(path, host or None)
