"""Background tasks end when they are told to."""

import asyncio

from mizan_edge.system.tasks import Tasks


async def test_a_task_that_loses_a_cancellation_is_stopped_all_the_same():
    begun = asyncio.Event()
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1  # as asyncio.wait_for does before Python 3.12, now and then

    tasks = Tasks()
    task = tasks.start(work(), "work")
    await begun.wait()
    await asyncio.wait_for(tasks.stop(), 5)
    assert task.cancelled()
    assert swallowed == 1


async def test_tasks_that_end_by_themselves_are_let_go():
    async def work() -> None:
        raise ValueError("for the log")

    tasks = Tasks()
    task = tasks.start(work(), "work")
    await asyncio.wait([task])
    await asyncio.wait_for(tasks.stop(), 5)
    assert not task.cancelled()
