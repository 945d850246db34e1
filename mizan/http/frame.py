"""What is around every view of ours, an endpoint or a page: `request.mizan` and tokens in; out what the request has
changed, said and purged, and the token cookie.
"""

from collections.abc import Callable
from functools import partial

from django.http import HttpRequest, HttpResponseBase

from mizan.request.failures import response_for
from mizan.request.identity import refresh_cookie, sign_in
from mizan.request.request_mizan import attach
from mizan.request.settle import abandon, is_unrendered, settle
from mizan.request.state import state


def framed(request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The response of a view, or that to what it raised."""
    try:
        attach(request)
        sign_in(request)
        response = view()
    except Exception as error:
        state(request).raised = True
        response = response_for(request, error)
    except BaseException:
        abandon(request)
        raise
    # Now as well where a template is rendered later: that may fail, and its response be replaced.
    settle(request, response)
    return when_rendered(response, partial(_finish, request))


def when_rendered(
    response: HttpResponseBase, finish: Callable[[HttpResponseBase], HttpResponseBase]
) -> HttpResponseBase:
    """The response that `finish` makes of one: now, or when Django has rendered its template, since what a template
    looks at counts as well. Several finish in the order in which they came."""
    if is_unrendered(response):
        response.add_post_render_callback(finish)
        return response
    return finish(response)


def _finish(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    settle(request, response)
    refresh_cookie(request, response)
    return response
