"""Imported by Python itself when a process of an edge under test starts: what the product has no hook for.

    EXACT_CLOCK     a file of one double: the seconds by which this edge's wall clock is off
    EXACT_WITHOUT   the mechanism that is switched off, a key of `MECHANISMS`

A mechanism is switched off right after its module was imported. Where the text to be changed is not found, the process
does not start: an ablation that changes nothing would prove nothing.
"""

import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha1
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Change = Callable[[Any], None]


def _without_text(name: str, text: str, instead: str) -> Change:
    """A change of the script `name`, or of all for ""."""

    def change(operations: Any) -> None:
        whole = operations.script

        @cache
        def script(asked: str) -> Any:
            found = whole(asked)
            if name not in ("", asked):
                return found
            if found.text.count(text) != 1:
                sys.exit(f"{text!r} does not stand once in the script {asked!r}")
            changed = found.text.replace(text, instead)
            return operations.Script(changed, sha1(changed.encode(), usedforsecurity=False).hexdigest())

        operations.script = script

    return change


def _put_what_was_overtaken(memory: Any) -> None:
    def put(self: Any, kept: Any, mark: Any) -> None:
        now = self.mark()
        if now is not None and now.session == mark.session:
            kept.number = now.number
            self._near.put(kept)

    memory.Memory.put = put


def _answer_at_the_reply(members: Any) -> None:
    members.Awaited._left_ms = lambda self, purged: purged.wait_ms


def _lease_for_ever(board: Any) -> None:
    grant = board.Board.grant
    board.Board.grant = lambda self, asked, lasts_s, redis_ms: grant(self, asked, 24 * 3600.0, redis_ms)


def _write_nothing_down(journal: Any) -> None:
    def add(self: Any, *_what: Any, **_how: Any) -> int:
        self._next += 1
        number: int = self._next - 1
        return number

    journal.Journal.add = add


def _renew_without_news(operations: Any) -> None:
    renew = operations.Namespace.renew

    def without_news(self: Any, *args: Any, **how: Any) -> Any:
        operation = renew(self, *args, **how)
        return replace(operation, parse=lambda reply: replace(operation.parse(reply), scopes=()))

    operations.Namespace.renew = without_news


MECHANISMS: dict[str, tuple[str, Change]] = {
    "fence": (
        "mizan_core.store.operations",
        _without_text("store", "if overtaken(log_key, header, header.seq) then return 'overtaken' end", ""),
    ),
    "near-fence": ("mizan_edge.memory.memory", _put_what_was_overtaken),
    "ack": ("mizan_core.store.members", _answer_at_the_reply),
    "lease": ("mizan_edge.purging.board", _lease_for_ever),
    "journal": ("mizan_edge.purging.journal", _write_nothing_down),
    "news": ("mizan_core.store.operations", _renew_without_news),
    "incarnation": ("mizan_core.store.operations", _without_text("", " or c[2] ~= run", "")),
}


class _Changing(MetaPathFinder):
    """Finds one module, and changes it when it has been loaded."""

    def __init__(self, module: str, change: Change) -> None:
        self._module = module
        self._change = change

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            self._change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _set_clock(path: str) -> None:
    with open(path, "rb") as file:
        off_s = memoryview(mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)).cast("d")
    true = time.time
    time.time = lambda: true() + off_s[0]


if "EXACT_CLOCK" in os.environ:
    _set_clock(os.environ["EXACT_CLOCK"])
if "EXACT_WITHOUT" in os.environ:
    sys.meta_path.insert(0, _Changing(*MECHANISMS[os.environ["EXACT_WITHOUT"]]))
