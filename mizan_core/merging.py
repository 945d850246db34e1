"""Where clients may put what a mutation returned, instead of fetching it anew.

A bundle has one slot for each rpc function of its context. A mutation's result may take the place of what is in a slot
if that function would return the same now: it has the same return type, and every parameter of it is known. A purge may
reach too far and costs a fetch; a merge that reaches too far (into the bundle of another user, or of another page)
shows a wrong value. So where there is doubt there is no place, and the purge does its work.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def places(
    spec: FunctionSpec, arguments: Mapping[str, object], contexts: Contexts, coverage: Mapping[str, Coverage]
) -> tuple[Place, ...]:
    """Where the result of a mutation with these (validated) arguments belongs, each place once."""
    found = {}
    for target in spec.merge:
        function = slot(spec, target, contexts)
        if function is None:
            continue
        context = target_context(target)
        known = narrowing(arguments, coverage.get(context, NOWHERE).types)
        names = sorted(function.signature.names)
        if known.keys() >= set(names):
            found[function.name] = Place(context, function.name, {name: arguments[name] for name in names})
    return tuple(found.values())


def slot(spec: FunctionSpec, target: Target, contexts: Contexts) -> FunctionSpec | None:
    """The function whose result the mutation returns: the target itself, or the only one of that context with the
    mutation's return type. None where none is, or several are."""
    functions = [f for f in contexts.get(target_context(target), ()) if f.path == "rpc"]
    returned = spec.signature.output
    if isinstance(target, str):
        found = [f for f in functions if _is_type(returned) and f.signature.output == returned]
    else:
        named = spec_of(target)
        found = [f for f in functions if named and f.name == named.name and _may_equal(f.signature.output, returned)]
    return found[0] if len(found) == 1 else None


def _is_type(annotation: object) -> bool:
    return annotation is not inspect.Signature.empty and annotation is not Any


def _may_equal(a: object, b: object) -> bool:
    return a == b or not (_is_type(a) and _is_type(b))
