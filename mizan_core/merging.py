"""Where clients may put what a mutation returned, instead of fetching it anew.

A bundle has one slot for each rpc function of its context. A mutation's result may take the place of what is in a slot
if that function would return the same now: its return type takes the result, and every parameter of it is known. A
purge may reach too far and costs a fetch; a merge that reaches too far (into the bundle of another user, or of another
page) shows a wrong value. So where there is doubt there is no place, and the purge does its work.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from mizan_core.fitting import fits, is_known, same
from mizan_core.registry import FunctionSpec, Target, spec_of, target_context
from mizan_core.scoping import NOWHERE, Coverage, narrowing

Contexts = Mapping[str, tuple[FunctionSpec, ...]]
"""The functions of each context."""


@dataclass(frozen=True, slots=True)
class Place:
    """A slot in the bundles of a context whose parameters equal all of `params` (validated arguments)."""

    context: str
    slot: str
    params: Mapping[str, object]
    output: Any = None
    """The slot's own type, where that is not the mutation's: a result is written as what the slot returns."""

    def written(self, result: object) -> bytes | None:
        """A result as JSON of the slot's own type; None where it is none of that type after all."""
        if isinstance(result, Iterator):
            return None  # it can be read but once, and was
        try:
            # By alias, as bundles are written.
            return TypeAdapter(self.output).dump_json(result, by_alias=True, warnings="error")
        except (PydanticSerializationError, PydanticUserError):
            return None


def places(
    spec: FunctionSpec, arguments: Mapping[str, object], contexts: Contexts, coverage: Mapping[str, Coverage]
) -> tuple[Place, ...]:
    """Where the result of a mutation with these (validated) arguments belongs: the slots whose parameters all have a
    value that they could have."""
    found = []
    for context, function in slots(spec, contexts):
        known = narrowing(arguments, coverage.get(context, NOWHERE).types)
        names = sorted(function.signature.names)
        if known.keys() >= set(names):
            params = {name: arguments[name] for name in names}
            found.append(Place(context, function.name, params, _own_output(function, spec)))
    return tuple(found)


def slots(spec: FunctionSpec, contexts: Contexts) -> list[tuple[str, FunctionSpec]]:
    """The context and the function of each slot that a mutation's results may be put into, each once."""
    found = [(target_context(target), slot(spec, target, contexts)) for target in spec.merge]
    return list({function.name: (context, function) for context, function in found if function is not None}.values())


def slot(spec: FunctionSpec, target: Target, contexts: Contexts) -> FunctionSpec | None:
    """The function whose result the mutation returns: the target itself, or the only one of that context that its
    return type picks. None where none is, or several are, or one of its parameters is none of the mutation's."""
    if isinstance(target, str):
        found = picked(spec, target, contexts)
    else:
        named = spec_of(target)
        returned = spec.signature.output
        found = [
            function
            for function in _rpc(target_context(target), contexts)
            if named and function.name == named.name and _may_fit(returned, function.signature.output)
        ]
    if len(found) != 1 or not found[0].signature.names <= spec.signature.names:
        return None
    return found[0]


def picked(spec: FunctionSpec, context: str, contexts: Contexts) -> list[FunctionSpec]:
    """The functions of a context that the mutation's return type picks: those of the very same type, else those whose
    type takes its results. Several are an ambiguity."""
    functions, returned = _rpc(context, contexts), spec.signature.output
    return [f for f in functions if same(returned, f.signature.output)] or [
        f for f in functions if fits(returned, f.signature.output)
    ]


def _rpc(context: str, contexts: Contexts) -> list[FunctionSpec]:
    return [function for function in contexts.get(context, ()) if function.path == "rpc"]


def _may_fit(returned: object, place: object) -> bool:
    return fits(returned, place) or not (is_known(returned) and is_known(place))


def _own_output(function: FunctionSpec, mutation: FunctionSpec) -> Any:
    returned, place = mutation.signature.output, function.signature.output
    return place if fits(returned, place) and not same(returned, place) else None
