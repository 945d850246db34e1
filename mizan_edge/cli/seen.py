"""Which requests a list of URLs or an access log names: each line by itself, whatever kind it is of."""

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from mizan_edge.cli.urls import WholeUrl, is_whole, without_fragment
from mizan_edge.http.message import is_host

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
    """Of a line that is a whole URL, which says where it can be asked for. None of a log's, which clients write."""


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
    try:
        if line.startswith("{"):
            return _of_object(json.loads(line))
        if line.startswith("/"):
            return Seen(_sent(line))
        if is_whole(line):
            return _whole(WholeUrl.parse(line))
        if match := _LOGGED.match(line):
            return _logged(match["method"], match["target"], match["host"], match["status"])
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        pass  # a log may hold anything
    raise Unreadable(line)


def _whole(url: WholeUrl) -> Seen:
    return Seen(_sent(url.target), _host(url.host), url.scheme)


def _of_object(said: Any) -> Seen | None:
    if isinstance(said.get("request"), dict):
        said = {**said, **said["request"]}
    found: dict[str, Any] = {key: _first(said, names) for key, names in _NAMES.items()}
    if isinstance(said.get("request"), str) and said["request"].count(" ") == 2:
        found["method"], found["target"], _ = said["request"].split(" ")
    return _logged(found["method"], found["target"], found["host"], found["status"])


def _first(said: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)


def _logged(method: Any, target: Any, host: Any, status: Any) -> Seen | None:
    if not isinstance(target, str):
        raise TypeError("the target is no string")
    if method != "GET" or not 200 <= int(status) < 400:
        return None
    if is_whole(target):
        # The host in it is one that a client has named, whom nobody else need ask for anything.
        target = WholeUrl.parse(target).target
    return Seen(_sent(target), _host(host) if host else None)


def _host(text: str) -> str:
    if not is_host(text):
        raise ValueError("no host")
    return text


def _sent(target: str) -> str:
    """As it was sent, as far as it can be: a list that somebody has typed may have spaces, and letters of all kinds."""
    return quote("/" + without_fragment(target).removeprefix("/"), safe=string.punctuation)
