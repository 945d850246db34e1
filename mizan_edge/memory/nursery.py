"""Where responses lie in a process's memory: one behind the other.

A response is packed while requests are under way, so its bytes come to lie in a place that one of theirs has left.
These are mostly a little larger, and what is over is too small for another response: a quarter of a kilobyte for each.
So those that came lately are copied all at once, and are let go only then, so that no copy comes to lie where another
one lay: the copies lie close together, and where the others lay there is room again in one piece. Collectors of garbage
do this to what is young, and for the same reason.
"""

from mizan_edge.memory.near import Item

# How many are copied at once, which takes less than a millisecond.
_YOUNG = 256
# What is larger loses little by lying anywhere, and takes longer to copy.
_LARGEST_BYTES = 16 << 10


class Nursery:
    """What has come into memory lately.

    # mutable state: the `_young`, which have not been copied yet.
    """

    def __init__(self) -> None:
        self._young: list[Item] = []

    def add(self, item: Item) -> None:
        """`item` has come into memory."""
        self._young.append(item)
        if len(self._young) == _YOUNG:
            left = [young.move() for young in self._young if young.is_kept]
            self._young.clear()
            left.clear()


def moved(data: bytes) -> bytes:
    """The same bytes in another place, unless they are many."""
    return bytes(memoryview(data)) if len(data) <= _LARGEST_BYTES else data
