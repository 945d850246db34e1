"""Optional: `mizan.middleware.MizanMiddleware`, behind AuthenticationMiddleware."""

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from mizan.headers import INVALIDATE, say_invalidated
from mizan.identity import refresh_cookie
from mizan.state import state


class MizanMiddleware(MiddlewareMixin):
    """Keeps the token cookie beside the session on every response of the site, and clears it at sign-out.

    Where Django replaced the response of a mutation (its template failed, a later layer raised), the replacement says
    what was changed as well.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        refresh_cookie(request, response)
        if (scopes := state(request).invalidated) and INVALIDATE not in response.headers:
            say_invalidated(response, scopes)
        return response
