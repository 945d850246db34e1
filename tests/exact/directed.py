"""For each mechanism a schedule that finds what it is for: something stale without it, and nothing with it.

Random schedules seldom find a lease or a message that is missing. Each of these takes ten seconds at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.exact.checker import Tally, Workload, check
from tests.exact.faults import Planned

_FEW = range(1, 5)
# Machines that run tests stall; here, what comes late must still be used.
_PATIENT = {"MIZAN_EDGE_REDIS_TIMEOUT": "5", "MIZAN_EDGE_PURGE_TIMEOUT": "5"}


@dataclass(frozen=True, slots=True)
class Directed:
    """Faults and a workload, and what both provoke."""

    seconds: float
    lane: Sequence[Planned]
    workload: Workload
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings of the edges that differ from the usual."""


# What is read at edge 0 was purged through edge 1, unless it says otherwise.
BY_MECHANISM: dict[str, Directed] = {
    # The origin answers with what it has read before the purge, and that is stored.
    "fence": Directed(5, [Planned(0.1, "slow_origin", 0, 5)], Workload(users=_FEW, viewers=(), writers=2, checks=0)),
    # Redis answers a worker with what it had before the purge, and that is kept in memory.
    "near-fence": Directed(
        6,
        [Planned(0.1, "delay_lookups", 0, 6)],
        Workload(users=_FEW, viewers=(), readers=60, writers=2, write_at=[1], checks=0),
        _PATIENT,
    ),
    # The purge is answered, and the edge has not heard of it yet.
    "ack": Directed(
        6, [Planned(0.5, "delay_subscription", 0, 5)], Workload(users=_FEW, viewers=(), writers=8, write_at=[1])
    ),
    # The purger has waited for as long as the lease lasts, and the keeper can tell its workers nothing.
    "lease": Directed(
        6, [Planned(1, "stop_keeper", 0, 4)], Workload(users=_FEW, viewers=(), write_at=[1], writing_s=3)
    ),
    # The purge was never confirmed, and its edge has died.
    "journal": Directed(
        10, [Planned(0.5, "kill_cut_edge", 0, 3.6)], Workload(viewers=(), write_at=[0], checks=0, writing_s=1.5)
    ),
    # The purger has waited for as long as the lease lasted then; it was renewed, and the message is far behind. A
    # subscription that is silent ends its session before that: this one falls behind without ever being silent.
    "news": Directed(
        9,
        [Planned(0.5, "throttle_subscription", 0, 8)],
        Workload(users=_FEW, viewers=(), writers=24, read_at=[0], write_at=[1]),
    ),
    # What was purged is there again. Within a lease: later all edges' records have run out, and everything is purged.
    "incarnation": Directed(5, [Planned(1.5, "rewind_redis", 0, 0.8)], Workload(users=_FEW, writers=8, writing_s=1.9)),
}


async def prove(mechanism: str, seed: int, *, without: bool) -> Tally:
    """The directed run of a mechanism, which is switched off in the edges' processes where `without` says so."""
    directed = BY_MECHANISM[mechanism]
    switched = {"EXACT_WITHOUT": mechanism} if without else {}
    return await check(
        seed,
        directed.seconds,
        lanes=[list(directed.lane)],
        workload=directed.workload,
        environment={**directed.environment, **switched},
    )
