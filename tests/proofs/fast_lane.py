"""What is ready, against what is decided, over many streams: `python -m pytest -n0 -s tests/proofs/fast_lane.py`."""

from pathlib import Path

import pytest

from tests.support.lanes import lanes
from tests.support.streams import compared

EXAMPLES = 2000


@pytest.mark.parametrize("trusted", [False, True], ids=["anybody", "trusted"])
def test_nobody_can_tell_which_answers_were_ready_whatever_arrives(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
):
    both = lanes(redis_url, namespace, tmp_path, monkeypatch, trusted=trusted)
    repeated = compared(both, examples=EXAMPLES)
    print(f"\n{EXAMPLES} streams, {repeated} answers that were ready: nobody could tell")
    assert repeated > EXAMPLES / 4
