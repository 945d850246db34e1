"""`mizan-edge purge` of users, and of what the origin would need long to make again."""

import asyncio
import re
import sys

import pytest

from tests.support.edge import TOKEN, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.served import run_here
from tests.support.terminal import in_terminal


async def purge(edge: RunningEdge, *arguments: str) -> tuple[int, str, str]:
    return await run_here("purge", *arguments, MIZAN_EDGE_ADMIN=edge.admin, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)


async def test_purge_of_a_user_takes_what_was_made_for_him_whatever_it_shows(edge: RunningEdge, tokens):
    for sub in "5", "6":
        await edge.get("/profile/1/", tokens(sub))
    status, out, error = await purge(edge, "--user", "5")
    assert (status, error) == (0, "")
    assert out.startswith("purged 1 entry of 1 scope, seq ")
    assert [(await edge.get("/profile/1/", tokens(sub))).hit for sub in ("5", "6")] == [False, True]


@pytest.fixture
async def costly(make_edge: EdgeFactory, origin: Origin) -> RunningEdge:
    """An edge with something that it took the origin a while to make."""
    edge = await make_edge(confirm_purge_above=0.01)

    async def slowly(asked: Asked) -> Says:
        await asyncio.sleep(0.03)
        return Says("made")

    origin.script = slowly
    await edge.get("/profile/1/")
    return edge


async def test_a_dry_run_shows_some_of_it_and_what_it_costs(costly: RunningEdge):
    status, out, _ = await purge(costly, "user", "--dry-run")
    assert status == 0
    first, scope, among, url, forecast = out.splitlines()
    assert first.startswith("would purge 1 entry of 1 scope, seq ")
    assert (scope, among, url) == ("  user", "among them:", "  /profile/1/")
    assert re.fullmatch(r"forecast: 1 entry, which the origin would need \d\.\d\d s to make again", forecast)


async def test_what_costs_much_needs_a_yes_where_nobody_can_be_asked(costly: RunningEdge):
    status, out, error = await purge(costly, "user")
    assert (status, out) == (1, "")
    assert error.startswith("mizan-edge: this would purge 1 entry, which the origin would need ")
    assert error.endswith(" s to make again: say --yes to purge it nevertheless\n")
    assert (await costly.get("/profile/1/")).hit
    status, out, _ = await purge(costly, "user", "--yes")
    assert (status, out.startswith("purged 1 entry")) == (0, True)
    assert not (await costly.get("/profile/1/")).hit


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal that a program can be")
async def test_a_person_is_asked(costly: RunningEdge):
    for answer, status, hit in ("n", 1, True), ("y", 0, False):
        async with in_terminal("purge", "user", "--admin", costly.admin, MIZAN_EDGE_ADMIN_TOKEN=TOKEN) as terminal:
            asked = await terminal.read_until("[y/N]: ")
            assert asked.startswith("This would purge 1 entry, which the origin would need ")
            terminal.write(f"{answer}\n")
            assert await terminal.end() == status
        assert (await costly.get("/profile/1/")).hit is hit
