"""Optional: `mizan.middleware.MizanMiddleware`, first in MIDDLEWARE.

What stands in front of it may replace a response, and what that said is lost: SessionMiddleware answers 400 where a
session has ended meanwhile, of a mutation that has been made.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from mizan.declare.compiled import refuse_problems
from mizan.http.mount import import_urlconf
from mizan.request.headers import forbid_storing, say_scopes
from mizan.request.identity import refresh_cookie
from mizan.request.request_mizan import attach
from mizan.request.settle import abandon, answer_in_full, settle
from mizan.request.state import state


class MizanMiddleware(MiddlewareMixin):
    """Keeps the token cookie beside the session on every response of the site, and clears it at sign-out.

    Gives every view `request.mizan`, and makes the response say what it was told. Where Django replaced the response of
    a mutation (its template failed, a later layer raised), the replacement says what was changed as well. A server with
    this middleware does not start where declarations contradict each other.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        import_urlconf()
        refuse_problems()

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        try:
            return super().__call__(request)
        except BaseException:
            abandon(request)
            raise

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await super().__acall__(request)
        except BaseException:
            await sync_to_async(abandon)(request)
            raise

    def process_request(self, request: HttpRequest) -> None:
        attach(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        refresh_cookie(request, response)
        if depends := state(request).depends:
            say_scopes(response, tuple(depends))
            answer_in_full(request)
        if state(request).stopgap:
            forbid_storing(response)
        settle(request, response)
        return response
