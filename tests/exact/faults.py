"""What goes wrong, each a function in a table, and the schedule of it that follows from a seed.

Each edge has a lane of faults, and what they share has one: faults of a lane follow each other, lanes overlap.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.exact.fleet import EDGES, NAMESPACE, Edge, Fleet
from tests.support.proxy import Slowness

Fault = Callable[[Fleet, Edge, float], Awaitable[None]]
"""Breaks something, and mends it after so many seconds. What the edges share is broken for all of them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of a schedule; `pause_s` after the one before it in its lane."""

    pause_s: float
    name: str
    edge: int
    lasts_s: float


# The processes of an edge.


async def kill_edge(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    await edge.kill()
    await asyncio.sleep(lasts_s)
    await edge.start()


async def stop_edge(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.stop()
    await asyncio.sleep(lasts_s)
    edge.go_on()


async def stop_keeper(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.stop_keeper()
    await asyncio.sleep(lasts_s)
    edge.let_keeper_go_on()


async def kill_worker(_fleet: Fleet, edge: Edge, _lasts_s: float) -> None:
    await edge.kill_worker()
    await edge.answers()


async def stop_worker(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    pid = edge.stop_worker()
    try:
        await edge.answers()
        await asyncio.sleep(lasts_s)
    finally:
        edge.let_worker_go_on(pid)


async def step_clock(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    # Anything from hours behind to hours ahead, minutes too: what a read may take for the age of an entry.
    edge.set_clock(Random(lasts_s).choice((-7200, -30, -2, 2, 30, 7200)))
    await asyncio.sleep(lasts_s)
    edge.set_clock(0)


async def reload_manifest(_fleet: Fleet, edge: Edge, _lasts_s: float) -> None:
    edge.swap_manifest()
    assert (await edge.administer("/reload", {})).status in (200, 503)


# Its way to Redis.


async def cut_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.lose_redis()
    edge.link.cut()
    await asyncio.sleep(lasts_s)
    edge.find_redis()
    edge.link.mend()
    await _settle(fleet, edge)


async def mute_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.lose_redis()
    edge.link.freeze()
    await asyncio.sleep(lasts_s)
    edge.find_redis()
    edge.link.thaw()
    await _settle(fleet, edge)


async def kill_cut_edge(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.lose_redis()
    edge.link.cut()
    await asyncio.sleep(lasts_s)
    await edge.kill()
    edge.find_redis()
    edge.link.mend()
    await edge.start()
    await _settle(fleet, edge)


async def _settle(fleet: Fleet, edge: Edge) -> None:
    await edge.settled()
    edge.cut = False
    fleet.histories.settled(edge.number)


async def cut_subscription(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.link.cut("subscription")
    await asyncio.sleep(lasts_s)
    edge.link.mend()


async def freeze_subscription(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    edge.link.freeze("subscription")
    await asyncio.sleep(lasts_s)
    edge.link.thaw()


async def delay_subscription(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    """Each piece of it comes late, but never so late that the edge gives it up."""
    edge.link.slow(Slowness(lambda: 0.4), "subscription")
    await asyncio.sleep(lasts_s)
    edge.link.speed_up()


async def throttle_subscription(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    """It falls behind ever further, and is never silent."""
    edge.link.slow(Slowness(lambda: 0.05, size=40), "subscription")
    await asyncio.sleep(lasts_s)
    edge.link.speed_up()


async def delay_lookups(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    """What Redis says to the workers comes late."""
    edge.link.slow(Slowness(lambda: 0.2), "lookups")
    await asyncio.sleep(lasts_s)
    edge.link.speed_up()


async def slow_redis(_fleet: Fleet, edge: Edge, lasts_s: float) -> None:
    rng = Random(lasts_s)
    edge.link.slow(Slowness(lambda: rng.uniform(0.005, 0.08)))
    await asyncio.sleep(lasts_s)
    edge.link.speed_up()


# What the edges share.


async def freeze_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.freeze()
    await asyncio.sleep(lasts_s)
    fleet.redis.thaw()


async def restart_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.kill()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(fleet.redis.start)


async def rewind_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """It comes back with what it had some time ago."""
    fleet.remember()
    await asyncio.sleep(lasts_s)
    fleet.redis.kill()
    fleet.rewind()
    await asyncio.to_thread(fleet.redis.start)


async def empty_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.redis.kill()
    fleet.forget()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(fleet.redis.start)


async def flush_redis(fleet: Fleet, _edge: Edge, _lasts_s: float) -> None:
    with fleet.redis.client() as client:
        await asyncio.to_thread(client.flushall)


async def fill_redis(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """It is out of memory."""
    with fleet.redis.client() as client:
        await asyncio.to_thread(client.config_set, "maxmemory", 1)
        await asyncio.sleep(lasts_s)
        await asyncio.to_thread(client.config_set, "maxmemory", 0)


# What the edges share where it is a cluster.


async def move_slot(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """The site moves to another node, key by key; for so long, some keys are here and some are there."""
    nodes = fleet.cluster
    source, target = await asyncio.to_thread(nodes.begin_move, NAMESPACE)
    keys = await asyncio.to_thread(source.ask, "CLUSTER", "GETKEYSINSLOT", source.slot(NAMESPACE), 100_000)
    gone = [key.decode() for key in Random(lasts_s).sample(keys, len(keys) // 2)]
    if gone:
        await asyncio.to_thread(nodes.move_keys, source, target, *gone)
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(nodes.end_move, NAMESPACE, source, target)


async def kill_primary(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """Its replica takes over, and it comes back as the replica of that."""
    nodes = fleet.cluster
    owner = await asyncio.to_thread(nodes.owner, NAMESPACE)
    owner.kill()
    await asyncio.to_thread(nodes.replaced, owner, NAMESPACE)
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(owner.start)
    await asyncio.to_thread(nodes.settled)


async def freeze_primary(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """Its replica takes over, and it wakes up in the belief to be the primary."""
    nodes = fleet.cluster
    owner = await asyncio.to_thread(nodes.owner, NAMESPACE)
    owner.freeze()
    await asyncio.to_thread(nodes.replaced, owner, NAMESPACE)
    await asyncio.sleep(lasts_s)
    owner.thaw()
    await asyncio.to_thread(nodes.settled)


async def lose_tail(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    """For so long the primary's replica hears nothing; then it takes over."""
    nodes = fleet.cluster
    owner = await asyncio.to_thread(nodes.owner, NAMESPACE)
    replica = await asyncio.to_thread(nodes.replica_of, owner)
    replica.freeze()
    await asyncio.to_thread(owner.ask, "CLIENT", "KILL", "TYPE", "replica")
    await asyncio.sleep(lasts_s)
    owner.kill()
    replica.thaw()
    await asyncio.to_thread(nodes.replaced, owner, NAMESPACE)
    await asyncio.to_thread(owner.start)
    await asyncio.to_thread(nodes.settled)


# What they share in any case.


async def break_mutations(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.site.breaking = True
    await asyncio.sleep(lasts_s)
    fleet.site.breaking = False


async def slow_origin(fleet: Fleet, _edge: Edge, lasts_s: float) -> None:
    fleet.site.slow = True
    await asyncio.sleep(lasts_s)
    fleet.site.slow = False


# Each with the most seconds that it lasts.
OF_AN_EDGE: dict[Fault, float] = {
    kill_edge: 1,
    stop_edge: 3,
    stop_keeper: 4,
    kill_worker: 0,
    stop_worker: 3,
    step_clock: 4,
    reload_manifest: 0,
    cut_edge: 6,
    mute_edge: 6,
    kill_cut_edge: 4,
    cut_subscription: 4,
    freeze_subscription: 4,
    delay_subscription: 4,
    throttle_subscription: 6,
    delay_lookups: 3,
    slow_redis: 4,
}
OF_ALL: dict[Fault, float] = {
    freeze_redis: 4,
    restart_redis: 2,
    rewind_redis: 3,
    empty_redis: 2,
    flush_redis: 0,
    fill_redis: 3,
    break_mutations: 3,
    slow_origin: 3,
}
OF_A_CLUSTER: dict[Fault, float] = {
    move_slot: 1,
    kill_primary: 1,
    freeze_primary: 1,
    lose_tail: 0.5,
    break_mutations: 3,
    slow_origin: 3,
}
BY_NAME = {fault.__name__: fault for fault in OF_AN_EDGE | OF_ALL | OF_A_CLUSTER}


def schedule(seed: int, seconds: float, *, clustered: bool = False) -> list[list[Planned]]:
    """The lanes of faults for a run of this length; always the same for a seed."""
    return [
        *(_lane(Random(f"{seed} edge {edge}"), OF_AN_EDGE, edge, seconds) for edge in range(EDGES)),
        _lane(Random(f"{seed} all"), OF_A_CLUSTER if clustered else OF_ALL, 0, seconds),
    ]


def _lane(rng: Random, table: dict[Fault, float], edge: int, seconds: float) -> list[Planned]:
    lane, begins_s = [], 0.0
    while begins_s < seconds:
        fault = rng.choice(list(table))
        planned = Planned(rng.uniform(0.3, 4), fault.__name__, edge, rng.random() * table[fault])
        begins_s += planned.pause_s + planned.lasts_s
        lane.append(planned)
    return lane
