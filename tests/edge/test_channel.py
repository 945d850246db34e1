"""Two processes ask each other things: answers, failures, order, and what the end of one means to the other."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from mizan_core.errors import MizanError
from mizan_edge.system.channel import MAX_FRAME_BYTES, CallFailed, Channel, ChannelClosed, Handler
from mizan_edge.system.tasks import Tasks


@dataclass
class Pair:
    """Two ends of a channel, in one process, and what runs each."""

    here: Channel
    there: Channel
    running_here: asyncio.Task[None]
    running_there: asyncio.Task[None]


Connect = Callable[..., Pair]
Peer = tuple[Channel, asyncio.Task[None], socket.socket]


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.stop()


@pytest.fixture
def connect(tasks: Tasks) -> Connect:
    """`connect(there={name: handler}, here={...})`."""

    def connected(there: Mapping[str, Handler], here: Mapping[str, Handler] | None = None) -> Pair:
        one, other = socket.socketpair()
        ends = Channel(one, here or {}, tasks), Channel(other, there, tasks)
        return Pair(*ends, tasks.start(ends[0].run(), "here"), tasks.start(ends[1].run(), "there"))

    return connected


@pytest.fixture
async def peer(tasks: Tasks) -> AsyncIterator[Peer]:
    """A channel, what runs it, and the bare socket at its other end."""
    one, other = socket.socketpair()
    other.setblocking(False)
    channel = Channel(one, {}, tasks)
    with other:
        yield channel, tasks.start(channel.run(), "here"), other


def echo(argument: Any) -> Any:
    return argument


async def test_each_end_asks_the_other_also_while_it_answers(connect: Connect):
    async def doubled(argument: Any) -> Any:
        return 2 * await pair.there.call("half", argument)

    async def half(argument: Any) -> Any:
        return argument / 2

    pair = connect({"doubled": doubled}, {"half": half})
    async with asyncio.timeout(10):
        assert await pair.here.call("doubled", 21) == 21


async def test_a_failure_comes_back_as_its_text_and_the_channel_goes_on(connect: Connect):
    async def mendable(_: Any) -> Any:
        raise MizanError("turn it on")

    def broken(_: Any) -> Any:
        raise LookupError("no such thing")

    async def odd(_: Any) -> Any:
        raise MizanError("no file \udcff")

    def no_json(_: Any) -> Any:
        return {1, 2}

    async def too_long(_: Any) -> Any:
        return "x" * MAX_FRAME_BYTES

    pair = connect({"echo": echo, "mendable": mendable, "broken": broken, "odd": odd, "set": no_json, "long": too_long})
    says = {
        "mendable": r"^turn it on$",
        "broken": r"^broken: LookupError: no such thing$",
        "odd": r"^no file \\udcff$",
        "set": "not JSON serializable",
        "long": "a frame has at most",
        "unheard": "nothing here is called 'unheard'",
    }
    async with asyncio.timeout(10):
        for name, text in says.items():
            with pytest.raises(CallFailed, match=text):
                await pair.here.call(name)
        assert await pair.here.call("echo", "still there") == "still there"


async def test_a_slow_call_holds_up_no_other(connect: Connect):
    go_on = asyncio.Event()

    async def slow(argument: Any) -> Any:
        await go_on.wait()
        return argument

    pair = connect({"slow": slow, "echo": echo})
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(pair.here.call("slow", "slow"))
        assert await pair.here.call("echo", "quick") == "quick"
        assert not waiting.done()
        go_on.set()
    assert waiting.result() == "slow"


async def test_what_is_told_is_handled_in_order_and_to_the_end_when_the_teller_has_gone(connect: Connect):
    heard: list[int] = []

    def hear(number: Any) -> None:
        heard.append(number)
        if number == 1:
            raise ValueError("for the log")

    pair = connect({"hear": hear})
    for number in range(100):
        pair.here.tell("hear", number, can_wait=number % 3 == 0)
    pair.here.tell("unheard")
    pair.here.tell("hear", 100, can_wait=True)
    await asyncio.sleep(0)  # so that its run() has begun
    pair.running_here.cancel()
    async with asyncio.timeout(10):
        await pair.running_there
    assert heard == list(range(101))


async def test_the_end_of_one_process_fails_the_open_calls_of_the_other(connect: Connect):
    begun = asyncio.Event()

    async def never(_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    pair = connect({"never": never})
    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            failing = [group.create_task(_closed(pair.here, "never")) for _ in range(3)]
            await begun.wait()
            pair.running_there.cancel()
        assert [task.result() for task in failing] == [True] * 3
        await pair.running_here
        assert pair.here.closed
        assert await _closed(pair.here, "echo")
        pair.here.tell("nobody")


async def _closed(channel: Channel, name: str) -> bool:
    with pytest.raises(ChannelClosed):
        await channel.call(name)
    return True


async def test_an_answer_counts_also_where_its_sender_has_gone_before_it_was_read(
    peer: Peer,
):
    channel, running, other = peer
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        asking = group.create_task(channel.call("x"))
        assert await loop.sock_recv(other, 1000) == _frame(b'["call",0,"x",null]')
        other.send(_frame(b'["done",0,"yes"]'))
        other.close()
        channel.tell("nobody reads this")
    await running
    assert asking.result() == "yes"


async def test_what_can_wait_goes_out_ahead_of_the_next_frame_and_without_one_soon(peer: Peer):
    channel, _, other = peer
    loop = asyncio.get_running_loop()
    one, two, three = (_frame(b'["tell","%b",null]' % name) for name in (b"one", b"two", b"three"))
    channel.tell("one", can_wait=True)
    with pytest.raises(BlockingIOError):
        other.recv(1000)
    channel.tell("two")
    channel.tell("three", can_wait=True)
    assert other.recv(1000) == one + two
    async with asyncio.timeout(10):
        assert await loop.sock_recv(other, 1000) == three


async def test_calls_that_come_together_are_answered_in_one_write(tasks: Tasks):
    one, other = socket.socketpair()
    channel = Channel(one, {"echo": echo}, tasks)
    with other:
        other.send(b"".join(_frame(b'["call",%d,"echo",%d]' % (number, number)) for number in range(3)))
        tasks.start(channel.run(), "here")
        other.setblocking(False)
        async with asyncio.timeout(10):
            answers = await asyncio.get_running_loop().sock_recv(other, 1000)
    assert answers == b"".join(_frame(b'["done",%d,%d]' % (number, number)) for number in range(3))


async def test_long_frames_arrive_whole_both_ways_and_wait_for_a_reader_that_is_slow(connect: Connect):
    pair = connect({"echo": echo}, {"echo": echo})
    long = "x" * (MAX_FRAME_BYTES - 100)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asking = [
            group.create_task(channel.call("echo", argument))
            for channel in (pair.here, pair.there)
            for argument in ("first", long, "last")
        ]
    assert [task.result() for task in asking] == ["first", long, "last"] * 2


async def test_an_argument_that_is_too_long_is_refused_before_anything_is_sent(connect: Connect):
    pair = connect({"echo": echo})
    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="at most 16777216 bytes"):
            await pair.here.call("echo", "x" * MAX_FRAME_BYTES)
        assert await pair.here.call("echo", 1) == 1


async def test_frames_are_found_however_they_are_cut(peer: Peer):
    channel, _, other = peer
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        asking = [group.create_task(channel.call("x")) for _ in range(4)]
        await asyncio.sleep(0)
        answers = b"".join(_frame(b'["done",%d,%d]' % (number, number)) for number in range(4))
        for byte in answers[:30]:
            other.send(bytes([byte]))
            await asyncio.sleep(0)
        other.send(answers[30:])
    assert [task.result() for task in asking] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\2{]",
        b"\0\0\0\2{}",
        b'\0\0\0\x0c["done","1"]',
    ],
)
async def test_what_is_no_frame_ends_the_channel(peer: Peer, data: bytes):
    channel, running, other = peer
    other.send(data)
    async with asyncio.timeout(10):
        await running
    assert channel.closed
    assert other.recv(1) == b""


async def test_a_caller_that_is_cancelled_does_not_disturb_the_next(peer: Peer):
    channel, _, other = peer
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        leaving = group.create_task(channel.call("x"))
        staying = group.create_task(channel.call("x"))
        await asyncio.sleep(0)
        other.send(_frame(b'["done",0,"late"]') + _frame(b'["done",1,"in time"]'))
        # 1. The caller is cancelled. 2. Its answer is read, in the same turn. 3. The caller's task takes notice.
        asyncio.get_running_loop().call_soon(leaving.cancel)
    assert leaving.cancelled()
    assert staying.result() == "in time"


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


async def test_what_makes_no_sense_ends_a_channel_whose_answers_are_not_read_without_an_error(tasks: Tasks):
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    sock, other = socket.socketpair()
    channel = Channel(sock, {"long": lambda _: "x" * (4 << 20)}, tasks)
    with other:
        running = tasks.start(channel.run(), "channel")
        await asyncio.sleep(0)
        other.sendall(_frame(b'["call",0,"long",null]'))
        await asyncio.sleep(0.1)
        other.sendall((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
        async with asyncio.timeout(10):
            await running
    assert not errors
