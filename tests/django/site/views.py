"""Pages that know nothing of Mizan."""

from collections.abc import AsyncIterator, Iterator

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from tests.django.site import clients


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("home")


def sign_in(request: HttpRequest, user_id: int) -> HttpResponse:
    login(request, User.objects.get(pk=user_id))
    return HttpResponse("in")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def taken(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the site's own")


def rename(request: HttpRequest, user_id: int) -> HttpResponse:
    User.objects.filter(pk=user_id).update(first_name=request.GET["name"])
    request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
    if "fail" in request.GET:
        raise RuntimeError("after the change")
    return HttpResponse("renamed", headers={"X-Mizan-Invalidate": "catalog"})


async def rename_and_stay(request: HttpRequest, user_id: int) -> HttpResponse:
    await User.objects.filter(pk=user_id).aupdate(first_name=request.GET["name"])
    request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
    return await clients.stay()


def rename_streamed(request: HttpRequest, user_id: int) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "begun "
        User.objects.filter(pk=user_id).update(first_name=request.GET["name"])
        request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
        yield "done"

    return StreamingHttpResponse(parts())


async def rename_streamed_later(request: HttpRequest, user_id: int) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield "begun "
        await User.objects.filter(pk=user_id).aupdate(first_name=request.GET["name"])
        request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
        yield "done"

    return StreamingHttpResponse(parts())


def many(request: HttpRequest) -> HttpResponse:
    for user_id in range(int(request.GET["count"])):
        request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
        request.mizan.depends("user", user_id=user_id)  # type: ignore[attr-defined]
    return HttpResponse("many")


def shown(request: HttpRequest, user_id: int) -> HttpResponse:
    request.mizan.depends("user", user_id=user_id)  # type: ignore[attr-defined]
    return HttpResponse("shown")


def react(request: HttpRequest) -> HttpResponse:
    return render(request, "page.mjs", {"name": "Ann"})
