"""What goes wrong, each a function in a table, and the schedule of it that follows from a seed.

Each edge has a lane of faults, and what they share has one: faults of a lane follow each other, lanes overlap.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.exact.fleet import EDGES, Edge, Fleet

Fault = Callable[[Fleet, Edge, float], Awaitable[None]]
"""Breaks something, and mends it after so many seconds. What the edges share is broken for all of them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of a schedule; `pause_s` after the one before it in its lane."""

    pause_s: float
    name: str
    edge: int
    lasts_s: float


async def kill_edge(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    await edge.kill()
    await asyncio.sleep(lasts_s)
    await edge.start()


async def stop_edge(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.stop()
    await asyncio.sleep(lasts_s)
    edge.go_on()


async def reload_manifest(_fleet: Fleet, edge: Edge, _lasts_s: float) -> None:
    edge.swap_manifest()
    assert (await edge.administer("/reload", {})).status in (200, 503)


async def cut_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.cut = True
    edge.link.cut()
    await asyncio.sleep(lasts_s)
    edge.link.mend()
    await _settle(fleet, edge)


async def mute_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.cut = True
    edge.link.freeze()
    await asyncio.sleep(lasts_s)
    edge.link.thaw()
    await _settle(fleet, edge)


async def kill_cut_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.cut = True
    edge.link.cut()
    await asyncio.sleep(lasts_s)
    await edge.kill()
    edge.link.mend()
    await edge.start()
    await _settle(fleet, edge)


async def _settle(fleet: Fleet, edge: Edge) -> None:
    await edge.settled()
    edge.cut = False
    fleet.histories.settled(edge.number)


async def freeze_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.freeze()
    await asyncio.sleep(lasts_s)
    fleet.redis.thaw()


async def restart_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.kill()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(fleet.redis.start)


async def empty_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.kill()
    fleet.forget()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(fleet.redis.start)


async def flush_redis(fleet: Fleet, _edge: Edge, _lasts_s: float) -> None:
    with fleet.redis.client() as client:
        await asyncio.to_thread(client.flushall)


async def break_mutations(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.site.breaking = True
    await asyncio.sleep(lasts_s)
    fleet.site.breaking = False


# Each with the most seconds that it lasts.
OF_AN_EDGE: dict[Fault, float] = {
    kill_edge: 1,
    stop_edge: 3,
    reload_manifest: 0,
    cut_edge: 6,
    mute_edge: 6,
    kill_cut_edge: 4,
}
OF_ALL: dict[Fault, float] = {
    freeze_redis: 4,
    restart_redis: 2,
    empty_redis: 2,
    flush_redis: 0,
    break_mutations: 3,
}
BY_NAME = {fault.__name__: fault for fault in OF_AN_EDGE | OF_ALL}


def schedule(seed: int, seconds: float) -> list[list[Planned]]:
    """The lanes of faults for a run of this length; always the same for a seed."""
    return [
        *(_lane(Random(f"{seed} edge {edge}"), OF_AN_EDGE, edge, seconds) for edge in range(EDGES)),
        _lane(Random(f"{seed} all"), OF_ALL, 0, seconds),
    ]


def _lane(rng: Random, table: dict[Fault, float], edge: int, seconds: float) -> list[Planned]:
    lane, begins_s = [], 0.0
    while begins_s < seconds:
        fault = rng.choice(list(table))
        planned = Planned(rng.uniform(0.3, 4), fault.__name__, edge, rng.random() * table[fault])
        begins_s += planned.pause_s + planned.lasts_s
        lane.append(planned)
    return lane
