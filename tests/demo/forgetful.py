"""The shop's settings, with an origin that changes things and does not say so."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from demo.settings import *  # noqa: F403
from demo.settings import MIDDLEWARE as ALL

MIDDLEWARE = ["tests.demo.forgetful.without_invalidation", *ALL]


def without_invalidation(get_response: Callable[[HttpRequest], HttpResponse]):
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.pop("X-Mizan-Invalidate", None)
        return response

    return answer
