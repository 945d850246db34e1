"""`mizan-edge audit`, as a process: who purged what."""

import json

from tests.support.edge import TOKEN, RunningEdge
from tests.support.origin import Origin, Says
from tests.support.served import run, run_here

HEADINGS = ["at", "seq", "source", "entries", "done in", "asked for by", "scopes"]


async def test_who_purged_what(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/5/")
    await run_here("purge", "user;user_id=5", MIZAN_EDGE_ADMIN=edge.admin, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)
    origin.script = lambda asked: Says("done", headers=[("X-Mizan-Invalidate", "catalog;category=a, user")])
    await edge.call("rename_user", user_id=5)
    status, out, error = await run("audit", "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token")
    assert (status, error) == (0, "")
    headings, *rows = out.splitlines()
    assert [name for name in HEADINGS if name in headings] == HEADINGS
    by_origin, by_person = rows
    assert by_origin.endswith('catalog;category="a", user') and "POST /api/mizan/call/ rename_user" in by_origin
    assert by_person.endswith("user;user_id=5") and "token purge" in by_person
    assert by_person.split()[2:4] == ["admin", "1"]
    first, second = (int(row.split()[1]) for row in (by_person, by_origin))
    assert first < second
    _, out, _ = await run_here(
        "audit", "--json", "--since", str(first), "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token"
    )
    assert [purge["seq"] for purge in json.loads(out)["purges"]] == [second]
    _, out, _ = await run_here(
        "audit", "--jsonl", "user;user_id=5", "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token"
    )
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [second, first]
    _, out, _ = await run_here(
        "audit", "--jsonl", "--before", str(first), "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token"
    )
    assert out == ""
    both = await run_here("audit", "--json", "--jsonl", "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token")
    assert (both[:2], "give one of them" in both[2]) == ((2, ""), True)
    status, _, error = await run_here("audit", "usr", "--admin", edge.admin, MIZAN_EDGE_READ_TOKEN="read-token")
    assert (status, "the nearest is 'user'" in error) == (1, True)
