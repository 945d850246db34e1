"""The manifest compiled to a matcher: from a request target to what it asks for, or to why that is never cached."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from mizan_core.canonical import Canonical, as_declared, value_text
from mizan_core.manifest import Context, Manifest
from mizan_core.patterns import Pattern, canonical_url
from mizan_core.scopes import URL, Scope

Kind = Literal["endpoint", "view", "call"]

# What a query costs grows with its parameters. Applications refuse so many, as Django does, and no page has them.
_MAX_PARAMETERS = 1000
_REMEMBERED = 2048
_SHORT = 256
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


@dataclass(frozen=True, slots=True)
class Resource:
    """What a request asks for, apart from who asks."""

    context: str
    kind: Kind
    function: str | None
    """None for a context endpoint, the pattern for a view, the function's name for a call."""
    params: Mapping[str, Canonical]
    """Everything of the request that tells responses apart: declared parameters, and all others."""
    scope: Scope
    """What a response depends on, as the request shows it."""
    target: str
    """The target to ask the origin for: the request's own, less what the key ignores."""


@dataclass(frozen=True, slots=True)
class Uncacheable:
    """A request that is forwarded and never cached."""

    detail: Literal["undeclared", "non-canonical"]
    because: str = field(default="", compare=False)
    """What of it makes it so, in words."""


@dataclass(frozen=True, slots=True)
class _Route:
    context: str
    kind: Kind
    pattern: Pattern


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    param: "_Node | None" = None
    route: dict[bool, _Route] = field(default_factory=dict)
    """By whether a slash ends the path."""
    depth: int = 0
    """Of a root: how many segments its longest route has."""


class Router:
    """Matches targets against a manifest's endpoints and views, and knows where calls go.

    # mutable state: `_matched`, what some targets were found to ask for; when it is full all is forgotten.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._root = _Node()
        self._calls = _Node()
        for name, context in manifest.contexts.items():
            for pattern in context.endpoint_patterns:
                _insert(self._root, _Route(name, "endpoint", pattern))
            for pattern in context.view_patterns:
                _insert(self._root, _Route(name, "view", pattern))
        for pattern in manifest.call_patterns:
            _insert(self._calls, _Route("", "call", pattern))
        self._mutations = [
            (name, pattern, _only(pattern)) for name, m in manifest.mutations.items() for pattern in m.patterns
        ]
        self._matched: dict[str, Resource | Uncacheable] = {}
        self._longest_mutation = max((node.depth for _, _, node in self._mutations), default=0)

    def match(self, target: str) -> Resource | Uncacheable:
        """What a GET of `target` asks for."""
        found = self._matched.get(target)
        if found is None:
            found = self._match(target)
            if len(target) <= _SHORT:
                if len(self._matched) >= _REMEMBERED:
                    self._matched.clear()
                self._matched[target] = found
        return found

    def _match(self, target: str) -> Resource | Uncacheable:
        path, _, query = target.partition("?")
        found = _find(self._root, path)
        if found is None:
            return Uncacheable("undeclared", "No view and no endpoint of the manifest has this path.")
        route, texts = found
        context = self.manifest.contexts[route.context]
        values = _path_values(route.pattern, texts, context)
        if isinstance(values, str):
            return Uncacheable("non-canonical", values)
        pairs = parse_query(query)
        if pairs is None:
            return Uncacheable("non-canonical", "Its query does not decode, or has too many parameters.")
        kept = [(name, text) for name, text in pairs if not _ignored(name, context)]
        if problem := _add_query(values, kept, context, route.pattern):
            return Uncacheable("non-canonical", problem)
        url = _url(route.pattern, values)
        scope = Scope(route.context, tuple(sorted([*_declared(values, context), (URL, url)])))
        function = route.pattern.text if route.kind == "view" else None
        return Resource(route.context, route.kind, function, values, scope, _without_ignored(path, query, context))

    def is_call(self, target: str) -> bool:
        """Whether a POST to `target` is a call."""
        return _find(self._calls, target) is not None

    def mutations(self, target: str) -> list[tuple[str, dict[str, str | None]]]:
        """The view mutations at a target's path, and the decoded texts of its parameters (None: does not decode)."""
        if not self._mutations:
            return []
        # Split once: there may be many, and a path of 64 KiB takes its time.
        split = _split(target.partition("?")[0], self._longest_mutation)
        found = []
        for name, pattern, node in self._mutations:
            if split is not None and (match := _walk(node, *split)):
                found.append((name, dict(zip(pattern.params, match[1], strict=True))))
        return found

    def urls(self, scope: Scope) -> list[str]:
        """The URLs that a scope resolves to; a parameter that it leaves open stays as `:name`."""
        context = self.manifest.contexts.get(scope.context)
        if context is None:
            return []
        values: dict[str, Canonical] = {name: text for name, text in scope.params if name in context.types}
        patterns = (*context.endpoint_patterns, *context.view_patterns)
        return sorted(_url(pattern, values) for pattern in patterns)


def parse_query(query: str) -> list[tuple[str, str]] | None:
    """The decoded pairs of a query string as form encoding has them; None where it does not decode cleanly, or has more
    than anybody reads."""
    pairs = []
    parts = query.split("&")
    if len(parts) > _MAX_PARAMETERS:
        return None
    for part in parts:
        if not part:
            continue
        name, _, value = part.replace("+", " ").partition("=")
        decoded = decode(name), decode(value)
        if decoded[0] is None or decoded[1] is None:
            return None
        pairs.append((decoded[0], decoded[1]))
    return pairs


def decode(text: str) -> str | None:
    """`text` percent-decoded, once; None for a wrong escape, what is not UTF-8, or a NUL."""
    if not text.isascii() or "\0" in text:
        return None
    if "%" not in text:
        return text
    data = text.encode()
    if any(match[1] is None for match in _ESCAPE.finditer(data)):
        return None
    data = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), data)
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in decoded else decoded


def _url(pattern: Pattern, values: Mapping[str, Canonical]) -> str:
    """The URL of a resource: the pattern's path, then every other parameter."""
    query = {name: _occurrences(value) for name, value in values.items() if name not in pattern.params}
    return canonical_url(pattern.path({name: value_text(value) for name, value in values.items()}), query)


def _only(pattern: Pattern) -> _Node:
    node = _Node()
    _insert(node, _Route("", "view", pattern))
    return node


def _insert(root: _Node, route: _Route) -> None:
    node = root
    for is_param, text in route.pattern.segments:
        if is_param:
            node.param = node.param or _Node()
            node = node.param
        else:
            node = node.literals.setdefault(text, _Node())
    node.route[route.pattern.slash] = route
    root.depth = max(root.depth, len(route.pattern.segments))


def _find(root: _Node, path: str) -> tuple[_Route, tuple[str | None, ...]] | None:
    """The route of a path and the decoded segments that its parameters take, None for one that does not decode."""
    split = _split(path, root.depth)
    return None if split is None else _walk(root, *split)


def _split(path: str, longest: int) -> tuple[list[str | None], bool] | None:
    """The decoded segments of a path (None for one that does not decode), and whether a slash ends it; None for what no
    route of up to `longest` segments can match."""
    if not path.startswith("/"):
        return None
    slash = path.endswith("/")
    inner = path[1:-1] if slash and len(path) > 1 else path[1:]
    if inner.count("/") >= max(longest, 1):
        return None
    segments: list[str | None] = []
    for raw in inner.split("/") if inner else []:
        segment = decode(raw)
        # Dot segments and encoded slashes mean other paths to other readers; an empty segment is lost by some.
        if raw == "" or (segment is not None and (segment in (".", "..") or "/" in segment)) or "%00" in raw:
            return None
        # In an old pattern `$` matches before a final newline as well, and the application never sees that newline.
        segments.append(None if segment is not None and segment.endswith("\n") else segment)
    return segments, slash


def _walk(
    node: _Node, segments: list[str | None], slash: bool, index: int = 0, taken: tuple[str | None, ...] = ()
) -> tuple[_Route, tuple[str | None, ...]] | None:
    if index == len(segments):
        route = node.route.get(slash)
        return (route, taken) if route else None
    segment = segments[index]
    if segment is not None and (literal := node.literals.get(segment)):
        found = _walk(literal, segments, slash, index + 1, taken)
        if found:
            return found
    if node.param:
        return _walk(node.param, segments, slash, index + 1, (*taken, segment))
    return None


def _path_values(pattern: Pattern, texts: Sequence[str | None], context: Context) -> dict[str, Canonical] | str:
    """The values of a path's parameters, or why it could be read in several ways."""
    values: dict[str, Canonical] = {}
    for name, text in zip(pattern.params, texts, strict=True):
        value = None if text is None else as_declared([text], context.types[name])
        if value is None:
            what = "does not decode" if text is None else f"is spelled {text!r}, which may be read as another value"
            return f"In its path, {name} {what}."
        values[name] = value
    return values


def _add_query(
    values: dict[str, Canonical], pairs: Iterable[tuple[str, str]], context: Context, pattern: Pattern
) -> str | None:
    """Adds a query's parameters to a path's; or says why the application could read them in several ways."""
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    for name, several in texts.items():
        # A name with a star could be taken for one of the key's own.
        if name in pattern.params or name.startswith("*"):
            return f"Its query has {name}, which is a name of the path's or the key's own."
        if name in context.types:
            value = as_declared(several, context.types[name])
            if value is None:
                spelled = " and ".join(map(repr, several))
                return f"In its query, {name} is spelled {spelled}, which may be read as another value."
            values[name] = value
        else:
            values[name] = several if len(several) > 1 else several[0]
    return None


def _declared(values: Mapping[str, Canonical], context: Context) -> list[tuple[str, str]]:
    return [(name, value_text(value)) for name, value in values.items() if name in context.types]


def _ignored(name: str, context: Context) -> bool:
    return name not in context.types and any(fnmatchcase(name, pattern) for pattern in context.ignore_query)


def _without_ignored(path: str, query: str, context: Context) -> str:
    # What is not in the key must not reach the response that lies under it.
    if not context.ignore_query:
        return f"{path}?{query}" if query else path
    kept = [
        part
        for part in query.split("&")
        if part and not _ignored(decode(part.partition("=")[0].replace("+", " ")) or "", context)
    ]
    return f"{path}?{'&'.join(kept)}" if kept else path


def _occurrences(value: Canonical) -> list[str]:
    return [value] if isinstance(value, str) else value
