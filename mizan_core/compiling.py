"""From the registry to the manifest: what depends on what, for everybody who caches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from mizan_core.canonical import ListOf, ParamType
from mizan_core.manifest import DEFAULT_TTL_S, Context, Manifest, ManifestError, dump_manifest, parse_manifest
from mizan_core.problems import DeclarationsError, Problem, problems
from mizan_core.registry import FunctionSpec, Registry
from mizan_core.route import RouteError
from mizan_core.scoping import Coverage, coverage
from mizan_core.view_urls import NONE, ViewUrl, ViewUrls

BASE = "/api/mizan/"
_AT_MANIFEST = "change what it names, so that a manifest can say it"
# What the manifest refuses as well, in its own words.
_NOT_IN_A_MANIFEST = frozenset({"route", "ignored"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """The manifest as a document and as a model, what could not be expressed, and what scopes are made of."""

    document: dict[str, Any]
    manifest: Manifest
    warnings: tuple[str, ...]
    coverage: Mapping[str, Coverage]
    contexts: Mapping[str, tuple[FunctionSpec, ...]]
    """The functions of each context, sorted by name."""


@dataclass(slots=True)
class _Warnings:
    texts: list[str] = field(default_factory=list)


def base_path(base: str) -> str:
    """A path with a slash at both ends."""
    return f"/{base.strip('/')}/" if base.strip("/") else "/"


def compile_registry(
    registry: Registry, *, base: str = BASE, release: str | None = None, view_urls: ViewUrls = NONE
) -> Compiled:
    """The manifest of everything that is registered, and of the views at `view_urls`. `base` is where the endpoints
    are.

    Raises DeclarationsError with all that is wrong.
    """
    base = base_path(base)
    contexts = registry.contexts()
    urls = {name: view_urls.of(name) for name in contexts}
    covered = {name: coverage(specs, _types(specs, urls[name]), urls[name]) for name, specs in contexts.items()}
    warnings = _Warnings()
    document: dict[str, Any] = {
        "version": 1,
        "contexts": {
            name: _context(name, specs, urls[name], covered[name], base, warnings) for name, specs in contexts.items()
        },
    }
    if mutations := {spec.name: _mutation(spec, covered, warnings) for spec in registry if spec.is_mutation}:
        document["mutations"] = mutations
    if base != BASE:
        document["calls"] = [f"{base}call/"]
    if release:
        document["release"] = release
    found = problems(registry, view_urls)
    try:
        manifest, unknown = parse_manifest(dump_manifest(document), source="the declarations")
    except ManifestError as error:
        known = any(problem.kind in _NOT_IN_A_MANIFEST for problem in found)
        raise DeclarationsError(found if known else [*found, Problem("manifest", str(error), _AT_MANIFEST)]) from None
    if found:
        raise DeclarationsError(found)
    return Compiled(document, manifest, (*warnings.texts, *unknown), covered, contexts)


def _types(specs: tuple[FunctionSpec, ...], urls: tuple[ViewUrl, ...]) -> dict[str, ParamType | None]:
    """Each parameter of a context with its type, sorted by name."""
    types: dict[str, ParamType | None] = {}
    for said in (*(spec.param_types for spec in specs), *(url.types for url in urls)):
        for name, type_ in said.items():
            types[name] = types.get(name) or type_
    return dict(sorted(types.items()))


def _rules(specs: tuple[FunctionSpec, ...]) -> dict[str, Any]:
    """How the responses of a context may be kept: what its functions say, merged, as far as it is not the default. A
    function that says nothing says the default."""
    merged: dict[str, Any] = {
        "scope": "public" if all(spec.scope == "public" for spec in specs) else "user",
        "rev": sum(spec.rev for spec in specs),
        "ttl": reduce(_least_ttl, map(_ttl, specs)),
        "swr": min(spec.swr or 0 for spec in specs),
        "sie": min(spec.sie or 0 for spec in specs),
        "hold": max(spec.hold or 0 for spec in specs),
        "purge": "soft" if all(spec.purge == "soft" for spec in specs) else "hard",
        "ignore_query": sorted({pattern for spec in specs for pattern in spec.ignore_query}),
    }
    return {key: value for key, value in merged.items() if value != Context.model_fields[key].default}


def _ttl(spec: FunctionSpec) -> int | Literal["heuristic"]:
    if spec.ttl is not None:
        return spec.ttl
    # No key can see what a callable looks at.
    return 0 if callable(spec.auth) else DEFAULT_TTL_S


def _least_ttl(a: int | Literal["heuristic"], b: int | Literal["heuristic"]) -> int | Literal["heuristic"]:
    if a == "heuristic" or b == "heuristic":
        # How long a heuristic lasts is not known here, except that it lasts longer than nothing.
        return 0 if 0 in (a, b) else "heuristic"
    return min(a, b)


def _context(
    name: str,
    specs: tuple[FunctionSpec, ...],
    urls: tuple[ViewUrl, ...],
    covered: Coverage,
    base: str,
    warnings: _Warnings,
) -> dict[str, Any]:
    own = [pattern for spec in specs if spec.cacheable for pattern in _patterns(spec, warnings)]
    context: dict[str, Any] = {
        "functions": [_function(spec) for spec in specs],
        "endpoints": [f"{base}ctx/{name}/"] if any(spec.path == "rpc" for spec in specs) else [],
        "params": list(covered.types),
        "views": sorted({*own, *(url.pattern for url in urls)}),
    }
    if types := {name: _document_type(type_) for name, type_ in covered.types.items() if type_}:
        context["param_types"] = types
    return context | _rules(specs)


def _function(spec: FunctionSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": spec.name, "path": spec.path}
    if not spec.cacheable:
        function["cache"] = False
    return function


def _patterns(spec: FunctionSpec, warnings: _Warnings) -> list[str]:
    if spec.route is None:
        return []
    try:
        return [spec.route.pattern]
    except RouteError as error:
        warnings.texts.append(f"the view of {spec.name!r} is left out, and never cached: {error}")
        return []


def _mutation(spec: FunctionSpec, covered: Mapping[str, Coverage], warnings: _Warnings) -> dict[str, Any]:
    affects = []
    for context in spec.targets:
        if (reached := covered.get(context)) is None:
            continue  # a problem, and found as one
        # The edge sees the arguments unvalidated.
        affects += [{"context": context, "params": sorted(names)} for names in reached.covering(reached.told(spec))]
    mutation: dict[str, Any] = {
        "path": spec.path,
        "affects": sorted(affects, key=lambda affected: (affected["context"], affected["params"])),
    }
    if views := _patterns(spec, warnings):
        mutation["views"] = views
    return mutation


def _document_type(type_: ParamType) -> Any:
    return {"list": type_.item} if isinstance(type_, ListOf) else type_
