"""A tiny worker: answers lines with its process id, and beats.

python -m tests.support.worker PLACE... BEATS_FD HOW, where HOW is one of:
    serve    until it is told to stop or its channel ends; a line "slow" is answered when the keeper's `wait` has been
    orphan   the same, but without asking the kernel to end it with its keeper
    refuse   ends at once with status 3
    hang     never says that it is ready
    deaf     says that it is ready, closes its channel, and beats on
"""

import asyncio
import mmap
import os
import sys

from mizan_edge.system.channel import Channel
from mizan_edge.system.processes import Place, die_with_parent
from mizan_edge.system.tasks import Tasks

BEAT_S = 0.02


async def beat(beats: memoryview, slot: int) -> None:
    while True:
        beats[slot] += 1
        await asyncio.sleep(BEAT_S)


async def serve(place: Place, how: str) -> None:
    tasks = Tasks()
    stop, idle = asyncio.Event(), asyncio.Event()
    idle.set()
    connections = 0

    def stopped(_: object) -> None:
        stop.set()

    channel = Channel(place.channel_socket(), {"stop": stopped}, tasks)
    hearing = tasks.start(channel.run(), "channel")
    hearing.add_done_callback(lambda _: os._exit(0) if how != "deaf" else None)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        idle.clear()
        if await reader.readline() == b"slow\n":
            await channel.call("wait")
        writer.write(str(os.getpid()).encode())
        writer.close()
        await writer.wait_closed()
        connections -= 1
        if not connections:
            idle.set()

    servers = [await asyncio.start_server(answer, sock=sock) for sock in place.listening_sockets()]
    channel.tell("ready")
    if how == "deaf":
        hearing.cancel()
    await stop.wait()
    for server in servers:
        server.close()
    await idle.wait()


async def main() -> None:
    place, (beats_fd, how) = Place.parse(sys.argv[1:])
    if how != "orphan":
        die_with_parent(place.keeper)
    if how == "refuse":
        sys.exit(3)
    tasks = Tasks()
    beats = memoryview(mmap.mmap(int(beats_fd), mmap.PAGESIZE)).cast("Q")
    tasks.start(beat(beats, place.slot), "beat")
    if how == "hang":
        await asyncio.Event().wait()
    await serve(place, how)


if __name__ == "__main__":
    asyncio.run(main())
