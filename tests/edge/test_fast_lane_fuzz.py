"""What is ready answers nothing that would not have been answered, whatever arrives. RFC 9112 section 11.2.

Failures that hypothesis finds are added to the corpus, which is always tried.
"""

from pathlib import Path

import pytest

from tests.support.lanes import READY, lanes
from tests.support.streams import compared

CORPUS = sorted((Path(__file__).parent / "corpus" / "ready").glob("*.http"))


def ways(data: bytes) -> list[list[bytes]]:
    """How the same bytes may arrive."""
    half, crumb = len(data) // 2, len(data) // 32 + 1
    heads = [part + b"\r\n\r\n" for part in data.split(b"\r\n\r\n")]
    heads[-1] = heads[-1].removesuffix(b"\r\n\r\n")
    crumbs = [data[i : i + crumb] for i in range(0, len(data), crumb)]
    return [[data], [data[:half], data[half:]], [head for head in heads if head], crumbs]


async def test_nobody_can_tell_which_answers_to_the_corpus_were_ready(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with lanes(redis_url, namespace, tmp_path, monkeypatch) as both:
        await both.compare([b"".join(READY)])
        assert both.repeated == len(READY)
        failed = []
        for path in CORPUS:
            for pieces in ways(path.read_bytes()):
                try:
                    await both.compare(pieces)
                except AssertionError as error:
                    failed.append(f"{path.name} in {len(pieces)} pieces: {error}")
        assert not failed, "\n".join(failed)


@pytest.mark.parametrize("trusted", [False, True], ids=["anybody", "trusted"])
def test_nobody_can_tell_which_answers_were_ready_whatever_arrives(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
):
    both = lanes(redis_url, namespace, tmp_path, monkeypatch, trusted=trusted)
    assert compared(both, examples=100) > 10
