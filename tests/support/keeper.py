"""A keeper as a process of its own: python -m tests.support.keeper HOW prints the process ids of its two workers."""

import asyncio
import sys

import uvloop

from mizan_edge.running.supervisor import Launch, Patience, Supervisor
from mizan_edge.system.addresses import listening_sockets
from mizan_edge.system.tasks import Tasks
from tests.support.beats import Beats


async def main(how: str) -> None:
    with Beats() as beats:
        supervisor = Supervisor(
            listening_sockets("listen", "127.0.0.1", 0, 2),
            lambda _: Launch("tests.support.worker", [str(beats.fd), how], [beats.fd]),
            tasks=Tasks(),
            beats=beats.count,
            on_start=lambda slot, channel: None,
            on_death=lambda slot: None,
            patience=Patience(tick_s=0.05),
        )
        await supervisor.start()
        print(*supervisor.pids.values(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
