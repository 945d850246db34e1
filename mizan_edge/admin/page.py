"""The dashboard: a page and the files that it is made of, which are open. Its data is asked for with a token."""

import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

from aiohttp import web

from mizan_edge.admin.access import PAGE, PAGE_FILES

_INDEX = "index.html"
# Nothing from elsewhere, nothing inline, and no text that becomes markup or code: what is shown comes from clients.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Page:
    """`GET /`, and the files under `/dashboard/`."""

    files: Mapping[str, bytes]

    @classmethod
    def read(cls) -> Self:
        """With the files of this installation. Another one that is put in its place later must not show half of it."""
        folder = files("mizan_edge.admin") / "dashboard"
        return cls({file.name: file.read_bytes() for file in folder.iterdir()})

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get(PAGE, self._page), web.get(f"{PAGE_FILES}{{name}}", self._file)]

    async def _page(self, _request: web.Request) -> web.Response:
        return self._answer(_INDEX)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.files:
            raise web.HTTPNotFound
        return self._answer(name)

    def _answer(self, name: str) -> web.Response:
        kind, _encoding = mimetypes.guess_type(name)
        return web.Response(body=self.files[name], content_type=kind, charset="utf-8", headers=_HEADERS)
