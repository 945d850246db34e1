"""Which scopes a read depends on, and which a mutation purges.

A scope removes only entries that carry all of its parameters, and a cached call carries only its own function's. So a
mutation names, for everything of a context that may be cached, the parameters that this thing surely carries: with
f1(user_id) and f2(user_id, locale), a mutation(user_id, locale) purges `user;user_id=5`, which covers the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mizan_core.canonical import Canonical, CanonicalError, ListOf, ParamType, canonical, is_canonical, value_text
from mizan_core.registry import FunctionSpec
from mizan_core.scopes import Scope, widest
from mizan_core.view_urls import ViewUrl


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the cached responses of one context carry."""

    types: Mapping[str, ParamType | None]
    """Each parameter of the context."""
    carried: tuple[frozenset[str], ...]
    """For each cached thing (calls of a function, the bundle, a view) the parameters that it always carries."""

    def covering(self, names: Iterable[str]) -> tuple[frozenset[str], ...]:
        """The fewest subsets of `names` by which scopes reach all that is cached, sorted."""
        available = frozenset(names) & frozenset(self.types)
        subsets = {available & carried for carried in self.carried} or {frozenset[str]()}
        minimal = [names for names in subsets if not any(other < names for other in subsets)]
        return tuple(sorted(minimal, key=sorted))

    def told(self, spec: FunctionSpec) -> frozenset[str]:
        """The parameters whose values a call of a mutation tells before it is validated: only of arguments that mean
        the same then."""
        types = spec.param_types.items()
        return frozenset(name for name, type_ in types if type_ and type_ == self.types.get(name))


NOWHERE = Coverage({}, ())
"""The coverage of a context that nobody declared: it is purged as a whole."""


def coverage(
    functions: Iterable[FunctionSpec], types: Mapping[str, ParamType | None], urls: Iterable[ViewUrl] = ()
) -> Coverage:
    """The coverage of a context from its functions, and from the URLs of other views that show its data."""
    specs = tuple(functions)
    bundle = [_carried(spec) for spec in specs if spec.path == "rpc"]
    single = [_carried(spec) for spec in specs if spec.cacheable]
    # Such a view's response carries what is in its URL, and nothing of what the view looked up by that.
    single += [frozenset(url.types) for url in urls]
    return Coverage(types, (*single, *([frozenset[str]().union(*bundle)] if bundle else [])))


def _carried(spec: FunctionSpec) -> frozenset[str]:
    # A parameter that is None is absent, and an entry without it is not reached by a scope that names it.
    return frozenset(p.name for p in spec.signature.parameters if not p.absent)


def invalidated(
    spec: FunctionSpec, arguments: Mapping[str, object], contexts: Mapping[str, Coverage]
) -> tuple[Scope, ...]:
    """What a mutation with these (validated) arguments purges, sorted."""
    return widest([scope for context in spec.targets for scope in concerned(context, arguments, contexts)])


def concerned(context: str, values: Mapping[str, object], contexts: Mapping[str, Coverage]) -> tuple[Scope, ...]:
    """The fewest scopes of a context that reach all which may depend on these values of its parameters."""
    reached = contexts.get(context, NOWHERE)
    texts = narrowing(values, reached.types)
    return tuple(
        Scope(context, tuple((name, texts[name]) for name in sorted(names))) for names in reached.covering(texts)
    )


def narrowing(arguments: Mapping[str, object], types: Mapping[str, ParamType | None]) -> dict[str, str]:
    """The (validated) arguments that bear the name of a parameter and a value that it could have, as texts."""
    return {
        name: text
        for name in sorted(frozenset(arguments) & frozenset(types))
        if (text := _narrowing(arguments[name], types[name])) is not None
    }


def _narrowing(value: object, type_: ParamType | None) -> str | None:
    """The text by which a value narrows a scope; None where it is absent or no value that entries could carry."""
    try:
        text = canonical(value)
    except CanonicalError:
        return None
    if text is None or not _fits(text, type_):
        return None
    return value_text(text)


def _fits(text: Canonical, type_: ParamType | None) -> bool:
    if type_ is None or isinstance(type_, ListOf) is isinstance(text, list):
        return type_ is None or is_canonical(text, type_)
    return False


def depends(
    context: str, read: Iterable[tuple[FunctionSpec, Mapping[str, object]]], types: Mapping[str, ParamType | None]
) -> tuple[Scope, ...] | None:
    """The scopes of a response made by these functions of a context with these (validated) arguments.

    None where an argument has no canonical text: a purge of its value could not find the response.
    """
    scopes = []
    values: dict[str, set[str]] = {}
    for _, arguments in read:
        texts = {}
        for name, value in arguments.items():
            try:
                text = canonical(value)
            except CanonicalError:
                return None
            if text is None:
                continue
            if not _fits(text, types.get(name)):
                return None
            texts[name] = value_text(text)
            values.setdefault(name, set()).add(texts[name])
        scopes.append(Scope(context, tuple(sorted(texts.items()))))
    if all(len(found) == 1 for found in values.values()):
        return (Scope(context, tuple(sorted((name, found.pop()) for name, found in values.items()))),)
    # Two functions with different defaults for one parameter: the response depends on both values.
    return tuple(sorted(set(scopes)))
