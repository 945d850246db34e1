"""The edge manifest: which contexts exist, what belongs to them, and what each mutation affects.

The origin exports it as JSON; `load_manifest` reads it strictly, and names the place of whatever it refuses.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mizan_core.canonical import ListOf, ParamType, Scalar
from mizan_core.errors import MizanError
from mizan_core.patterns import Pattern, PatternError, parse_pattern
from mizan_core.scopes import ScopeError, check_name

VERSION = 1
DEFAULT_TTL_S = 86400

Seconds = Annotated[int, Field(ge=0, le=2**31 - 1)]
# RFC 8785 knows no integers beyond these, and keys are made of its text.
SafeInteger = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]


class ManifestError(MizanError):
    """A manifest that cannot be used; the text names the file and the place in it."""


class _Model(BaseModel):
    # Unknown keys are kept, so that they can be named in a warning.
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Function(_Model):
    """A function of a context."""

    name: str
    path: Literal["rpc", "view"] = "rpc"
    cache: bool = True
    """False: calls of it are never cached."""


class ListType(_Model):
    """`{"list": TYPE}`"""

    list: Scalar


class Affected(_Model):
    """A context that a mutation changes, and those of its parameters that the mutation's own arguments name."""

    context: str
    params: list[str] = []


class Mutation(_Model):
    """What a request may change, known before its answer comes."""

    path: Literal["rpc", "view"] = "rpc"
    affects: list[Affected] = []
    views: list[str] = []

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        return tuple(map(parse_pattern, self.views))


class Context(_Model):
    """A named set of read functions that share parameters."""

    functions: list[Function] = []
    endpoints: list[str] = []
    params: list[str] = []
    views: list[str] = []
    param_types: dict[str, Scalar | ListType] = {}
    scope: Literal["user", "public"] = "user"
    rev: SafeInteger = 0
    ttl: Seconds | Literal["heuristic"] = DEFAULT_TTL_S
    swr: Seconds = 0
    sie: Seconds = 0
    hold: Seconds = 0
    purge: Literal["hard", "soft"] = "hard"
    ignore_query: list[str] = []

    @cached_property
    def types(self) -> dict[str, ParamType | None]:
        """Each parameter's declared type, None for one that is undeclared."""
        return {name: _param_type(self.param_types.get(name)) for name in self.params}

    @cached_property
    def endpoint_patterns(self) -> tuple[Pattern, ...]:
        return tuple(map(parse_pattern, self.endpoints))

    @cached_property
    def view_patterns(self) -> tuple[Pattern, ...]:
        return tuple(map(parse_pattern, self.views))

    @cached_property
    def shape(self) -> str:
        """A digest of all that decides how a response is indexed. Entries of another shape cannot be purged exactly."""
        types = {name: _type_text(kind) for name, kind in self.types.items()}
        return hashlib.sha256(rfc8785.dumps([sorted(self.params), types, self.scope])).hexdigest()[:16]

    @cached_property
    def digest(self) -> str:
        """One of all that the manifest says of it, unknown keys as well: where two differ, so do the contexts."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Manifest(_Model):
    """What the origin declares."""

    version: int = VERSION
    release: str | None = None
    calls: list[str] = ["/api/mizan/call/"]
    contexts: dict[str, Context]
    mutations: dict[str, Mutation] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        problems = list(_problems(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @cached_property
    def call_patterns(self) -> tuple[Pattern, ...]:
        return tuple(map(parse_pattern, self.calls))

    @cached_property
    def functions(self) -> dict[str, tuple[str, Function]]:
        """Each context function by its name, with the name of its context."""
        return {f.name: (name, f) for name, context in self.contexts.items() for f in context.functions}

    def shapes(self) -> dict[str, str]:
        """Context -> shape."""
        return {name: context.shape for name, context in self.contexts.items()}

    def digests(self) -> dict[str, str]:
        """Context -> digest."""
        return {name: context.digest for name, context in self.contexts.items()}


def _param_type(declared: Scalar | ListType | None) -> ParamType | None:
    return ListOf(declared.list) if isinstance(declared, ListType) else declared


def _type_text(kind: ParamType | None) -> str:
    return f"list of {kind.item}" if isinstance(kind, ListOf) else kind or ""


def _problems(manifest: Manifest) -> Iterator[str]:
    """Whatever the types alone do not show, each with its place."""
    if manifest.version > VERSION:
        yield f"version: {manifest.version} is newer than {VERSION}, which this program reads: upgrade mizan-edge"
    if manifest.version < 1:
        yield f"version: there is no version {manifest.version}"
    patterns: dict[tuple[object, ...], str] = {}
    functions: dict[str, str] = {}
    for index, text in enumerate(manifest.calls):
        yield from _pattern_problems(f"calls[{index}]", text, [], patterns)
    for name, context in manifest.contexts.items():
        place = f"contexts.{name}"
        yield from _name_problems(place, [name])
        yield from _name_problems(f"{place}.params", context.params)
        if len(set(context.params)) != len(context.params):
            yield f"{place}.params: a parameter stands there twice"
        for index, function in enumerate(context.functions):
            here = f"{place}.functions[{index}].name"
            if function.name in functions:
                yield f"{here}: the function {function.name!r} stands at {functions[function.name]} already"
            functions[function.name] = here
        for param in context.param_types:
            if param not in context.params:
                yield f"{place}.param_types.{param}: the context has no parameter {param!r}"
        for key, texts in (("endpoints", context.endpoints), ("views", context.views)):
            for index, text in enumerate(texts):
                yield from _pattern_problems(f"{place}.{key}[{index}]", text, context.params, patterns)
    for name, mutation in manifest.mutations.items():
        for index, text in enumerate(mutation.views):
            # Its parameters are the mutation's own, and its URL may be that of a read (GET shows, POST changes).
            yield from _pattern_problems(f"mutations.{name}.views[{index}]", text, None, {})
        for index, affected in enumerate(mutation.affects):
            if affected.context not in manifest.contexts:
                yield f"mutations.{name}.affects[{index}].context: there is no context {affected.context!r}"


def _name_problems(place: str, names: list[str]) -> Iterator[str]:
    for name in names:
        try:
            check_name(name)
        except ScopeError as error:
            yield f"{place}: {error}"


def _pattern_problems(
    place: str, text: str, params: list[str] | None, seen: dict[tuple[object, ...], str]
) -> Iterator[str]:
    try:
        pattern = parse_pattern(text)
    except PatternError as error:
        yield f"{place}: {error}"
        return
    for name in pattern.params:
        if params is not None and name not in params:
            yield f"{place}: the pattern {text!r} has a parameter {name!r} that `params` lacks"
    if pattern.shape in seen:
        yield f"{place}: the pattern {text!r} matches the same paths as the one at {seen[pattern.shape]}"
    seen[pattern.shape] = place


def parse_manifest(data: bytes, *, source: str) -> tuple[Manifest, list[str]]:
    """The manifest in `data`, and a warning for each key that is unknown. `source` names the file in errors."""
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
        json.dumps(document, ensure_ascii=False).encode()  # fails on a lone surrogate, which no key can hold
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source}: not JSON: {error}") from None
    except _DuplicateKey as error:
        raise ManifestError(f"{source}: the key {error.args[0]!r} stands twice in one object") from None
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise ManifestError("\n".join(f"{source}: {line}" for line in _lines(error))) from None
    return manifest, [f"{source}: {place}: an unknown key, ignored" for place in _unknown(manifest, "")]


def read_manifest_file(path: Path) -> bytes:
    """The bytes of a manifest's file. Raises ManifestError, which names the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> ManifestError:
    """What to raise for a file that cannot be read."""
    advice = "name a file that can be"
    if isinstance(error, FileNotFoundError):
        advice = f"export it with `python manage.py export_edge_manifest --output {path}`"
    return ManifestError(f"{path}: cannot be read ({error.strerror}): {advice}")


def load_manifest(path: Path) -> tuple[Manifest, list[str]]:
    """The manifest in a file, and warnings. Raises ManifestError, which names the file and the place."""
    return parse_manifest(read_manifest_file(path), source=str(path))


def dump_manifest(document: dict[str, Any]) -> bytes:
    """A manifest's bytes, the same for the same content: sorted keys, two spaces, a newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest."""
    schema = Manifest.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Mizan edge manifest",
    }


class _DuplicateKey(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKey(next(name for name in names if names.count(name) > 1))
    return result


def _lines(error: ValidationError) -> Iterator[str]:
    problems: dict[str, list[str]] = {}
    for problem in error.errors():
        if problem["type"] == "value_error" and not problem["loc"]:
            yield from str(problem["ctx"]["error"]).split("\n")
            return
        object_wanted = problem["type"] in ("model_type", "dict_type")
        message = "Input should be an object" if object_wanted else problem["msg"]
        problems.setdefault(_place(problem["loc"]), []).append(message)
    for place, messages in problems.items():
        yield f"{place}: {', or '.join(messages)}"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for index, step in enumerate(location):
        union = location[index - 1] == "ttl" or (index > 1 and location[index - 2] == "param_types")
        if union and isinstance(step, str) and step.startswith(("constrained-", "literal[", "ListType")):
            continue  # pydantic's name for the branch of a union, which is no place in the file
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    return place.lstrip(".") or "the whole file"


def _unknown(value: object, place: str) -> Iterator[str]:
    match value:
        case BaseModel():
            for key in value.__pydantic_extra__ or {}:
                yield f"{place}.{key}".lstrip(".")
            for key in type(value).model_fields:
                yield from _unknown(getattr(value, key), f"{place}.{key}")
        case dict():
            for key, item in value.items():
                yield from _unknown(item, f"{place}.{key}")
        case list():
            for index, item in enumerate(value):
                yield from _unknown(item, f"{place}[{index}]")


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(dump_manifest(json_schema()))
