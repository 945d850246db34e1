"""The site behind the edges: it reads its versions first, and answers late."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import web

from mizan_core.mwt import Keyring, mint, verify

USERS = range(12)
SHOWN = range(4)
"""The users in the overview, which says in X-Mizan-Scope that it depends on them."""
PAGES = range(8, 12)
"""The users of whom there is nothing but a page, which is purged by its URL."""
VIEWERS = range(12, 14)
"""Those who sign in: what they are shown of a user depends on what they may see, which has versions as well."""
SUBJECTS = (*USERS, *VIEWERS)
"""Everybody who has versions."""

PURGES = {
    "user": ("X-Mizan-Invalidate", "user;user_id={subject}"),
    "user and more": (
        "X-Mizan-Invalidate",
        "nothing-here;a=1, user;user_id={subject}, catalog;category=hats",
    ),
    "context": ("X-Mizan-Invalidate", "user"),
    "url": ("X-Mizan-Invalidate", 'user;*url="/profile/{subject}/"'),
    "viewer": ("X-Mizan-Invalidate", 'user;*user="{subject}"'),
    "group": ("Cache-Group-Invalidation", '"{subject}"'),
    "unsafe": None,
}
"""What the answer to a change says, if anything: that of an unsafe request to a page needs to say nothing."""
SHOWS = "X-Shows"
"""The field of every answer that says what its body says."""
PART_BYTES = 64
"""At the beginning of a body, which hold all that it says."""

MWT_SECRET = "mwt-secret-" * 4
_KEYRING = Keyring.parse(MWT_SECRET)
_PERMISSIONS = "p1"
_SLOW_S = 1.2
# Some are refreshed early, or used stale meanwhile; most live until they are purged.
_LIFETIMES = (*[None] * 3, "max-age=1", "max-age=1, stale-while-revalidate=3")
_VARY = ((), ("Accept-Language",), ("Accept-Encoding",), ("Accept-Language", "X-Theme"))
_MODIFIED = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
# Long enough to be compressed.
_BODY_BYTES = 1200

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
        "mutations": {
            "rename_user": {"affects": [{"context": "user", "params": ["user_id"]}]},
            "limit_viewer": {"affects": [{"context": "user"}]},
        },
    }


def signed_in(viewer: int) -> dict[str, str]:
    """The request field of a viewer who has just signed in."""
    token = mint(_KEYRING, sub=str(viewer), pkey=_PERMISSIONS, now_s=int(time.time()))
    return {"Authorization": f"Bearer {token}"}


def made_for(viewer: int | None, user: int | None = None, fields: Mapping[str, str] | None = None) -> str:
    """Whom an answer suits; a page of `user` beyond that those whose request has such `fields`."""
    selecting = () if user is None else _VARY[user % len(_VARY)]
    return ",".join([str(viewer or ""), *((fields or {}).get(name, "") for name in selecting)])


def shown(text: str) -> tuple[list[int], str]:
    """The versions that an answer shows, and whom it was made for."""
    versions, _, whom = text.partition(",")
    return [int(version) for version in versions.split(".")], whom


class Site:
    """Answers every read with the versions of its subjects, and whom it is made for; by 304 where the asker has it.

    # mutable state: `versions`; `committed`, the version that each write has made before it was answered or broken;
    # `broken`, the writes whose connection it broke.
    """

    def __init__(self, rng: Random, *, forgetful: bool = False) -> None:
        """`forgetful`: it does not always say what to purge, which the checker must find."""
        self.versions = [1] * len(SUBJECTS)
        self.committed: dict[int, int] = {}
        self.broken: set[int] = set()
        self.breaking = False
        """Whether connections break under mutations."""
        self.slow = False
        """Whether reads take long."""
        self._rng = rng
        self._forgetful = forgetful

    def commit(self, subject: int) -> int:
        """Makes a new version; gives it."""
        self.versions[subject] += 1
        return self.versions[subject]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = json.loads(await request.read()) if request.method == "POST" else None
        if call and call["fn"] != "user_profile":
            return await self._change(request, call["args"])
        if call:
            return await self._show(request, call["args"]["user_id"])
        if request.path.startswith("/catalog/"):
            scopes = ", ".join(f"user;user_id={user}" for user in SHOWN)
            return await self._answer(request, SHOWN, made_for(None), {"X-Mizan-Scope": scopes})
        if request.path.startswith("/profile/"):
            return await self._show(request, int(request.path.split("/")[2]), is_page=True)
        return await self._show(request, int(request.query["user_id"]))

    async def _show(self, request: web.BaseRequest, user: int, *, is_page: bool = False) -> web.Response:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        who = verify(_KEYRING, token, now_s=time.time())
        viewer = int(who.sub) if who else None
        subjects = [user] if viewer is None else [user, viewer]
        if not is_page:
            return await self._answer(request, subjects, made_for(viewer), {})
        vary = ", ".join(_VARY[user % len(_VARY)])
        return await self._answer(
            request, subjects, made_for(viewer, user, request.headers), {"Vary": vary} if vary else {}
        )

    async def _answer(
        self, request: web.BaseRequest, subjects: Sequence[int], whom: str, headers: dict[str, str]
    ) -> web.Response:
        text = ".".join(str(self.versions[subject]) for subject in subjects) + f",{whom}"
        longest_s = _SLOW_S if self.slow else self._rng.choice((0, 0, 0.02, 0.05, 0.4))
        await asyncio.sleep(longest_s * self._rng.random())
        groups = ", ".join(f'"{subject}"' for subject in subjects)
        headers = headers | {SHOWS: text, "Cache-Groups": groups}
        if lifetime := self._rng.choice(_LIFETIMES):
            headers["Cache-Control"] = lifetime
        tag = f'"{text}"'
        if request.headers.get("If-None-Match", "").removeprefix("W/") == tag:
            return web.Response(status=304, headers=headers | {"ETag": tag})
        if "If-Modified-Since" in request.headers:
            # Whatever has changed: nothing may depend on a validator that misses what was purged.
            return web.Response(status=304, headers=_MODIFIED)
        if self._rng.random() < 0.7:  # else the edge makes one
            headers["ETag"] = tag
        elif request.method != "HEAD":
            headers |= _MODIFIED
        return web.Response(text=text.ljust(_BODY_BYTES), headers=headers)

    async def _change(self, request: web.BaseRequest, args: dict[str, Any]) -> web.Response:
        subject, write = args["user_id"], args["write"]
        await asyncio.sleep(0.02 * self._rng.random())
        breaks = self._rng.choice(("before", "after", "late")) if self.breaking and self._rng.random() < 0.5 else None
        if breaks in (None, "after"):
            self.committed[write] = self.commit(subject)
        await asyncio.sleep(0.05 * self._rng.random())
        if breaks:
            self.broken.add(write)
            if request.transport is not None:  # else the edge has gone before
                request.transport.abort()
        if breaks == "late":
            await asyncio.sleep(self._rng.random())
            self.commit(subject)
        forgets = self._forgetful and self._rng.random() < 0.5
        said = None if forgets else PURGES[args["purges"]]
        return web.Response(text="{}", headers={said[0]: said[1].format(subject=subject)} if said else {})


@asynccontextmanager
async def serving(site: Site, hosts: Sequence[str]) -> AsyncIterator[list[str]]:
    """The site's URLs at addresses of this host, for the length of the block."""
    # A handler goes on when its client is gone, as an origin's does that commits late.
    runner = web.ServerRunner(web.Server(site.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    for host in hosts:
        await web.TCPSite(runner, host, 0).start()
    try:
        yield [f"http://{host}:{port}" for host, port in runner.addresses]
    finally:
        await runner.cleanup()
