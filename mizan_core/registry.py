"""`@client`: where an application declares its reads, what they depend on, and what its mutations change."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

from mizan_core.canonical import ParamType
from mizan_core.errors import MizanError
from mizan_core.route import Route, RouteError, parse_route
from mizan_core.scopes import ScopeError, check_name
from mizan_core.signature import Signature, SignatureError, read_signature

F = TypeVar("F", bound=Callable[..., Any])

Target: TypeAlias = str | Callable[..., Any]
"""A context's name, or a function of it."""
Auth: TypeAlias = bool | Literal["staff", "superuser"] | Callable[[Any], object] | None

ATTRIBUTE = "mizan"
"""A declared function, or a class that stands for one, carries its FunctionSpec under this name."""
LOCAL = "local"
"""`context="local"`: a context of the function's own, under the function's name."""

_UNSIGNED = ("rev", "swr", "sie", "hold")


class RegistryError(MizanError, ValueError):
    """A declaration that cannot be meant; the text says what to change."""


class Options(TypedDict, total=False):
    """The parameters of `@client`."""

    context: str | None
    affects: Target | list[Target] | tuple[Target, ...] | None
    merge: Target | list[Target] | tuple[Target, ...] | None
    auth: Auth
    route: str | None
    rev: int
    websocket: bool
    ttl: int | Literal["heuristic"] | None
    swr: int | None
    sie: int | None
    scope: Literal["user", "public"] | None
    hold: int | None
    purge: Literal["hard", "soft"] | None
    ignore_query: str | list[str] | tuple[str, ...] | None
    cache: bool


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One declared function. What is None was not said: `compiling` decides."""

    name: str
    fn: Callable[..., Any]
    signature: Signature
    context: str | None = None
    local: bool = False
    """Whether its context is its own, and named as it is."""
    affects: tuple[Target, ...] = ()
    merge: tuple[Target, ...] = ()
    auth: Auth = None
    route: Route | None = None
    rev: int = 0
    websocket: bool = False
    ttl: int | Literal["heuristic"] | None = None
    """Seconds, as are `swr`, `sie` and `hold`."""
    swr: int | None = None
    sie: int | None = None
    scope: Literal["user", "public"] | None = None
    hold: int | None = None
    purge: Literal["hard", "soft"] | None = None
    ignore_query: tuple[str, ...] = ()
    cache: bool = True

    @property
    def path(self) -> Literal["rpc", "view"]:
        return "view" if self.route else "rpc"

    @property
    def is_mutation(self) -> bool:
        return bool(self.affects or self.merge)

    @property
    def targets(self) -> tuple[str, ...]:
        """The contexts that it changes, merge targets among them, each once."""
        return tuple(dict.fromkeys(target_context(target) for target in (*self.affects, *self.merge)))

    @property
    def param_types(self) -> dict[str, ParamType | None]:
        """Its parameters. A type that its annotations leave open, its route's converter may say."""
        by_route = self.route.types if self.route else {}
        return {p.name: p.type or by_route.get(p.name) for p in self.signature.parameters}

    @property
    def cacheable(self) -> bool:
        """Whether a cache may keep its answers: not to calls whose arguments may be of any type, or of several."""
        return self.cache and (self.path == "view" or self.signature.typed)


def spec_of(fn: object) -> FunctionSpec | None:
    """What was declared of a function, None for one that was not."""
    # What a class has from its base is the declaration of the base.
    spec = vars(fn).get(ATTRIBUTE) if isinstance(fn, type) else getattr(fn, ATTRIBUTE, None)
    return spec if isinstance(spec, FunctionSpec) else None


class Registry:
    """The declared functions by name. `generation` changes with every registration."""

    def __init__(self) -> None:
        # The first of a name is the one that answers; a second one is an error, until it is registered under another.
        self._functions: dict[str, list[FunctionSpec]] = {}
        self.generation = 0

    def __iter__(self) -> Iterator[FunctionSpec]:
        return iter([self._functions[name][0] for name in sorted(self._functions)])

    def get(self, name: str) -> FunctionSpec | None:
        specs = self._functions.get(name)
        return specs[0] if specs else None

    def duplicates(self) -> dict[str, tuple[FunctionSpec, ...]]:
        """The names that several functions bear, sorted."""
        return {name: tuple(specs) for name, specs in sorted(self._functions.items()) if len(specs) > 1}

    def contexts(self) -> dict[str, tuple[FunctionSpec, ...]]:
        """The functions of each context, both sorted by name."""
        grouped: dict[str, list[FunctionSpec]] = {}
        for spec in self:
            if spec.context:
                grouped.setdefault(spec.context, []).append(spec)
        return {name: tuple(grouped[name]) for name in sorted(grouped)}

    @overload
    def client(self, fn: F, /) -> F: ...
    @overload
    def client(self, fn: None = None, /, **options: Unpack[Options]) -> Callable[[F], F]: ...
    def client(self, fn: F | None = None, /, **options: Unpack[Options]) -> F | Callable[[F], F]:
        """Declares a function, as `@client` or `@client(...)`; it stays the function it was.

        Raises RegistryError, SignatureError or ScopeError at once, where the declaration stands. What contradicts
        other declarations is found by `mizan_core.problems`.
        """

        def declare(function: F) -> F:
            spec = _spec(function, options)
            self._add(spec)
            setattr(function, ATTRIBUTE, spec)
            return function

        return declare if fn is None else declare(fn)

    def register(self, fn: F, name: str | None = None) -> F:
        """Registers a declared function under `name` instead of its own; once or more often is the same."""
        spec = spec_of(fn)
        if spec is None:
            raise RegistryError(f"{fn!r} is not declared: put @client above it, then register it")
        if not name or name == spec.name:
            self._add(spec)
            return fn
        renamed = _named(spec, name)
        self._remove(spec)
        self._add(renamed)
        for holder in {id(fn): fn, id(spec.fn): spec.fn}.values():
            setattr(holder, ATTRIBUTE, renamed)
        return fn

    def _add(self, spec: FunctionSpec) -> None:
        specs = self._functions.setdefault(spec.name, [])
        # A module that is loaded again defines the same function anew.
        same = [index for index, other in enumerate(specs) if _place(other.fn) == _place(spec.fn)]
        if same:
            specs[same[0]] = spec
        else:
            specs.append(spec)
        self.generation += 1

    def _remove(self, spec: FunctionSpec) -> None:
        others = [other for other in self._functions.get(spec.name, []) if other != spec]
        if others:
            self._functions[spec.name] = others
        else:
            self._functions.pop(spec.name, None)


default = Registry()
"""The registry of the process. Take it as `registry.default`, so that a test may put another one in its place."""


def _named(spec: FunctionSpec, name: str) -> FunctionSpec:
    return replace(spec, name=name, context=check_name(name) if spec.local else spec.context)


def _place(fn: Callable[..., Any]) -> tuple[object, ...]:
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return (fn.__module__, getattr(fn, "__qualname__", None), code.co_firstlineno if code else id(fn))


def place_text(fn: Callable[..., Any]) -> str:
    """Where a function is, for people."""
    return f"{fn.__module__}.{getattr(fn, '__qualname__', fn)}"


def _spec(fn: Callable[..., Any], options: Options) -> FunctionSpec:
    name = getattr(fn, "__name__", "")
    if not name:
        raise RegistryError(f"@client declares functions, and {fn!r} is none")
    known = Options.__optional_keys__
    if unknown := sorted(set(options) - known):
        raise RegistryError(f"@client on {name!r}: no parameter {unknown[0]!r}, only {', '.join(sorted(known))}")
    local = options.get("context") == LOCAL
    try:
        values: dict[str, Any] = {
            **options,
            "context": name if local else _name(options.get("context")),
            "local": local,
            "signature": read_signature(fn),
            "affects": _targets(options.get("affects")),
            "merge": _targets(options.get("merge")),
            "ignore_query": _texts(options.get("ignore_query")),
            "route": parse_route(route) if (route := options.get("route")) is not None else None,
        }
        spec = FunctionSpec(name, fn, **values)
        for problem in _problems(spec):
            raise RegistryError(problem)
    except (RegistryError, RouteError) as error:
        raise RegistryError(f"@client on {name!r}: {error}") from None
    except (SignatureError, ScopeError) as error:
        raise type(error)(f"@client on {name!r}: {error}") from None
    return spec


def _name(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise RegistryError(f"context= takes a name, not {value!r}")


def _texts(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(text, str) for text in texts):
        raise RegistryError("ignore_query= takes names of query parameters, such as 'utm_*'")
    return texts


def _targets(value: object) -> tuple[Target, ...]:
    items = tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else () if value is None else (value,)
    for item in items:
        if isinstance(item, str):
            check_name(item)
        elif (spec := spec_of(item)) is None or spec.context is None:
            raise RegistryError(f"{item!r} is neither the name of a context nor a declared function of one")
    return items


def target_context(target: Target) -> str:
    """The context that a target names, or belongs to."""
    if isinstance(target, str):
        return target
    spec = spec_of(target)
    if spec is None or spec.context is None:
        raise RegistryError(f"{target!r} is not a function of a context")
    return spec.context


def _problems(spec: FunctionSpec) -> Iterator[str]:
    if spec.context is not None:
        check_name(spec.context)
        if spec.is_mutation:
            yield "a function of a context only reads, and affects= or merge= says that it changes something: split it"
    if not (spec.auth in (None, False, True, "staff", "superuser") or callable(spec.auth)):
        yield f"auth= takes True, 'staff', 'superuser' or a function of the request, not {spec.auth!r}"
    if spec.scope == "public" and spec.auth:
        yield "one response for everybody (scope='public') cannot be guarded by auth=: take scope='user'"
    for key, allowed in _CHOICES.items():
        if getattr(spec, key) not in allowed:
            yield f"{key}= takes {' or '.join(repr(a) for a in allowed if a is not None)}, not {getattr(spec, key)!r}"
    for key in _UNSIGNED:
        value = getattr(spec, key)
        if value is not None and not _is_unsigned(value):
            yield f"{key}= takes a whole number from 0 on, not {value!r}"
    if not (spec.ttl in (None, "heuristic") or _is_unsigned(spec.ttl)):
        yield f"ttl= takes seconds from 0 on, or 'heuristic', not {spec.ttl!r}"
    for name in sorted(spec.signature.names):
        if pattern := next((p for p in spec.ignore_query if fnmatchcase(name, p)), None):
            yield f"ignore_query={pattern!r} would ignore its own parameter {name!r}"


_CHOICES: dict[str, tuple[object, ...]] = {
    "scope": ("user", "public", None),
    "purge": ("hard", "soft", None),
    "websocket": (True, False),
    "cache": (True, False),
}


def _is_unsigned(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31
