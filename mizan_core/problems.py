"""What is wrong with the declarations as a whole: all of it at once, each with what to do about it.

What a single `@client` says that cannot be meant is raised where it stands. Here is what only shows between
declarations, or what another declaration may still put right.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from mizan_core.canonical import ListOf, ParamType
from mizan_core.merging import picked
from mizan_core.registry import LOCAL, FunctionSpec, Registry, RegistryError, place_text, target_context
from mizan_core.view_urls import NONE, ViewUrl, ViewUrls

Kind = Literal["name", "type", "route", "target", "merge", "ignored", "local", "manifest", "url"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One contradiction. `text` names the functions, `hint` says what to change."""

    kind: Kind
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text}: {self.hint}"


class DeclarationsError(RegistryError):
    """Declarations that contradict each other or themselves; the text has a line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def problems(registry: Registry, view_urls: ViewUrls = NONE) -> list[Problem]:
    """All that is wrong, by kinds, and in the order of names."""
    contexts = registry.contexts()
    return [
        *_names(registry),
        *(problem for context, specs in contexts.items() for problem in _types(context, specs, view_urls.of(context))),
        *(problem for spec in registry for problem in _routes(spec)),
        *(problem for spec in registry for problem in _targets(spec, contexts)),
        *_unknown_of_urls(view_urls, contexts),
        *(problem for spec in registry for problem in _merges(spec, contexts)),
        *(problem for context, specs in contexts.items() for problem in _ignored(context, specs)),
        *(problem for context, specs in contexts.items() for problem in _locals(context, specs)),
    ]


def _names(registry: Registry) -> Iterator[Problem]:
    for name, specs in registry.duplicates().items():
        places = [place_text(spec.fn) for spec in specs]
        yield same_name("functions", name, places, 'rename one, or register(function, "another_name")')


def same_name(kind: str, name: str, places: Sequence[str], hint: str) -> Problem:
    """Several of a kind, such as "functions", bear one name; `places` says which."""
    return Problem("name", f"{_number(places)} {kind} are called {name!r}, {' and '.join(places)}", hint)


def _types(context: str, specs: Iterable[FunctionSpec], urls: Iterable[ViewUrl]) -> Iterator[Problem]:
    said: dict[str, dict[ParamType, list[str]]] = {}
    for place, types in (
        *((spec.name, spec.param_types) for spec in specs),
        *((url.pattern, url.types) for url in urls),
    ):
        for name, type_ in types.items():
            if type_ is not None:
                said.setdefault(name, {}).setdefault(type_, []).append(repr(place))
    for name, by_type in sorted(said.items()):
        if len(by_type) > 1:
            each = [f"{_type_text(type_)} in {', '.join(places)}" for type_, places in by_type.items()]
            yield Problem(
                "type",
                f"in the context {context!r} the parameter {name!r} is {' and '.join(each)}",
                "give it the same type everywhere, or another name where it is another thing",
            )


def _type_text(type_: ParamType) -> str:
    return f"a list of {type_.item}" if isinstance(type_, ListOf) else f"of type {type_}"


def _routes(spec: FunctionSpec) -> Iterator[Problem]:
    for name in spec.route.params if spec.route else ():
        if name not in spec.signature.names:
            yield Problem(
                "route",
                f"the route {spec.route} of {spec.name!r} has {name!r}, and the function has no such parameter",
                f"add the parameter {name!r} to the function, or take it from the route",
            )


def _targets(spec: FunctionSpec, contexts: Mapping[str, object]) -> Iterator[Problem]:
    for option, targets in (("affects", spec.affects), ("merge", spec.merge)):
        for context in dict.fromkeys(map(target_context, targets)):
            if context not in contexts:
                yield Problem(
                    "target",
                    f"{spec.name!r} {_VERBS[option]} {context!r}, and no function is in a context of that name",
                    f"a context='local' has its function's name: take the function, as in {option}=the_function"
                    if context == LOCAL
                    else f"correct the name in {option}=, or declare the context: @client(context={context!r})",
                )


def _unknown_of_urls(view_urls: ViewUrls, contexts: Mapping[str, object]) -> Iterator[Problem]:
    for context in view_urls.by_context:
        if context not in contexts:
            yield Problem(
                "target",
                f"{view_urls.source} names {context!r}, and no function is in a context of that name",
                f"correct the name, or declare the context: @client(context={context!r})",
            )


_VERBS = {"affects": "affects", "merge": "merges into"}


def _merges(spec: FunctionSpec, contexts: Mapping[str, tuple[FunctionSpec, ...]]) -> Iterator[Problem]:
    for target in spec.merge:
        found = picked(spec, target, contexts) if isinstance(target, str) else []
        if len(found) > 1:
            names = ", ".join(repr(function.name) for function in found)
            yield Problem(
                "merge",
                f"the result of {spec.name!r} may take the place of {_number(found)} functions of the context "
                f"{target!r}: {names}",
                f"name the function instead of the context, as in merge={found[0].name}",
            )


def _ignored(context: str, specs: Iterable[FunctionSpec]) -> Iterator[Problem]:
    specs = tuple(specs)
    params = sorted({name for spec in specs for name in spec.signature.names})
    for pattern in sorted({pattern for spec in specs for pattern in spec.ignore_query}):
        if ignored := [repr(name) for name in params if fnmatchcase(name, pattern)]:
            verb = "which are parameters" if len(ignored) > 1 else "a parameter"
            yield Problem(
                "ignored",
                f"ignore_query={pattern!r} would ignore {', '.join(ignored)}, {verb} of the context {context!r}",
                "take a narrower pattern",
            )


def _locals(context: str, specs: Iterable[FunctionSpec]) -> Iterator[Problem]:
    specs = tuple(specs)
    if len(specs) > 1 and any(spec.local for spec in specs):
        others = ", ".join(repr(spec.name) for spec in specs if spec.name != context)
        yield Problem(
            "local",
            f"{context!r} has a context of its own (context='local'), and {others} is in a context of that name",
            "rename one of the two",
        )


def _number(found: Iterable[object]) -> str:
    count = len(tuple(found))
    return "two" if count == 2 else str(count)
