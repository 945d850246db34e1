"""The site behind the edges: it reads its versions first, and answers late."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import web

USERS = 12
SHOWN = range(4)
"""The users in the overview, which says in X-Mizan-Scope that it depends on them."""
PAGES = range(8, USERS)
"""The users of whom there is nothing but a page, which is purged by its URL."""

PURGES = {
    "user": "user;user_id={user}",
    "user and more": "nothing-here;a=1, user;user_id={user}, catalog;category=hats",
    "context": "user",
    "url": 'user;*url="/profile/{user}/"',
}

_USER = {
    "functions": [{"name": "user_profile", "path": "rpc"}, {"name": "profile_page", "path": "view"}],
    "endpoints": ["/api/mizan/ctx/user/"],
    "params": ["user_id"],
    "param_types": {"user_id": "integer"},
    "views": ["/profile/:user_id/"],
}
_CATALOG = {"params": ["category"], "views": ["/catalog/:category/"], "scope": "public"}


def manifest(*, locale: bool) -> dict[str, Any]:
    """The site's manifest; with `locale`, by which entries are indexed otherwise."""
    user = _USER | ({"params": ["user_id", "locale"]} if locale else {})
    return {
        "contexts": {"user": user, "catalog": _CATALOG},
        "mutations": {"rename_user": {"affects": [{"context": "user", "params": ["user_id"]}]}},
    }


class Site:
    """Answers every read with the versions of its users, as a JSON list.

    # mutable state: `versions`; `committed`, the version that each write has made before it was answered or broken.
    """

    def __init__(self, rng: Random, *, forgetful: bool = False) -> None:
        """`forgetful`: it does not always say what to purge, which the checker must find."""
        self.versions = [1] * USERS
        self.committed: dict[int, int] = {}
        self.breaking = False
        """Whether connections break under mutations."""
        self.address = ""
        self._rng = rng
        self._forgetful = forgetful

    def commit(self, user: int) -> int:
        """Makes a new version; gives it."""
        self.versions[user] += 1
        return self.versions[user]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = json.loads(await request.read()) if request.method == "POST" else None
        if call and call["fn"] == "rename_user":
            return await self._rename(request, call["args"])
        if call:
            return await self._show([call["args"]["user_id"]], {})
        if request.path.startswith("/catalog/"):
            return await self._show(SHOWN, {"X-Mizan-Scope": ", ".join(f"user;user_id={user}" for user in SHOWN)})
        if request.path.startswith("/profile/"):
            user = int(request.path.split("/")[2])
            return await self._show([user], {"Vary": "Accept-Language"} if user % 2 else {})
        return await self._show([int(request.query["user_id"])], {})

    async def _show(self, users: Sequence[int], headers: dict[str, str]) -> web.Response:
        body = json.dumps([self.versions[user] for user in users])
        await asyncio.sleep(self._rng.choice((0, 0, 0.02, 0.05, 0.4)) * self._rng.random())
        return web.Response(text=body, headers=headers)

    async def _rename(self, request: web.BaseRequest, args: dict[str, Any]) -> web.Response:
        user, write = args["user_id"], args["write"]
        await asyncio.sleep(0.02 * self._rng.random())
        breaks = self._rng.choice(("before", "after", "late")) if self.breaking and self._rng.random() < 0.5 else None
        if breaks in (None, "after"):
            self.committed[write] = self.commit(user)
        await asyncio.sleep(0.05 * self._rng.random())
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        if breaks == "late":
            await asyncio.sleep(self._rng.random())
            self.commit(user)
        forgets = self._forgetful and self._rng.random() < 0.2
        said = {} if forgets else {"X-Mizan-Invalidate": PURGES[args["purges"]].format(user=user)}
        return web.Response(text="{}", headers=said)


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[str]:
    """The site's URL, on the loopback for the length of the block."""
    # A handler goes on when its client is gone, as an origin's does that commits late.
    runner = web.ServerRunner(web.Server(site.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
