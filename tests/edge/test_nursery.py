"""Responses in a worker's memory lie close together, although they come while requests are under way."""

import os
import random
import subprocess
import sys
import time
from collections import deque
from hashlib import sha256

from mizan_edge.memory.memory import Memory
from mizan_edge.memory.packed import PackedResponse, Templates
from mizan_edge.purging.board import Board, clocks
from mizan_edge.rules.entry import Written
from tests.edge.test_packed import page
from tests.support.memory import resident

COUNT = 20_000


def test_what_comes_among_requests_leaves_no_gaps_between():
    # In a process of its own, in which nothing else has left gaps.
    code = "from tests.edge.test_nursery import growth; print(growth())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A gap has some 180 bytes.
    assert float(done.stdout) - 1024 < 540


def growth() -> float:
    """The bytes by which this process grows for each response of 1 KiB that it keeps."""
    chance, templates = random.Random(1), Templates()
    value = page(1).compressed({})
    written, template = Written.of(value.to_bytes()), templates.of("page", value, copies=True)
    under_way = deque([b""] * 64)
    board = Board.create(0)
    try:
        board.begin_session()
        board.grant(clocks(), 3600, int(time.time() * 1000))
        memory = Memory(board, max_bytes=1 << 30)
        before = 0
        for number in range(COUNT + 1000):
            if number == 1000:
                before = resident([os.getpid()])
            mark = memory.mark()
            assert mark is not None
            for _ in range(8):
                # What a request needs: heads, what Redis gets and says.
                under_way.append(bytes(chance.randrange(600, 4200)))
                under_way.popleft()
            key = sha256(b"%d" % number).hexdigest()[:32]
            memory.put(PackedResponse(key, ("page", key, "a" + key), written, template, hidden=True), mark)
        assert len(memory) == COUNT + 1000
        return (resident([os.getpid()]) - before) / COUNT
    finally:
        board.close()
