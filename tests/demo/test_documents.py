"""What docs/getting-started.md and docs/tour.md show of the demo is what it does."""

import re
import shutil
from collections.abc import Iterator

import pytest

from tests import tour
from tests.demo.running import TOP, Running, staying_up
from tests.support.processes import wait_for

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the documents show it")

GETTING_STARTED = (TOP / "docs" / "getting-started.md").read_text()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with staying_up(tmp_path_factory.mktemp("demo")) as running:
        yield running


def test_the_tour_shows_what_its_commands_print(demo: Running):
    page = tour.PAGE.read_text()
    terminal = tour.Terminal(demo, page)
    for command, said in tour.commands(page):
        printed: list[str] = []

        def as_said(command: str = command, said: str = said, printed: list[str] = printed) -> bool:
            printed.append(terminal.type(command))
            return tour.shape(printed[-1]) == tour.shape(said)

        # Hits are compared, and requests counted, beside the requests.
        assert wait_for(as_said, seconds=5), f"make tour?\n$ {command}\n{printed[-1]}"


def test_getting_started_leads_to_a_hit_and_past_the_purge_to_a_miss(demo: Running):
    demo_section = GETTING_STARTED.partition("\n## The demo")[2].partition("\n## ")[0]
    up, first, second, state, purge, after = re.findall(r"^    (.+)$", demo_section, re.MULTILINE)
    assert (up, state) == ("make demo", "export MIZAN_EDGE_STATE_DIR=.demo/edge")  # done for all of these tests
    terminal = tour.Terminal(demo, "")
    terminal.type("mizan-edge purge --all")
    assert "Cache-Status: mizan-edge; fwd=uri-miss; stored" in terminal.type(first)
    assert "Cache-Status: mizan-edge; hit; ttl=" in terminal.type(second)
    assert "purged 1 entry" in terminal.type(purge)
    assert "Cache-Status: mizan-edge; fwd=uri-miss; stored" in terminal.type(after)
