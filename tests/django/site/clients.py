"""Declared functions, and `ran`: how often each one ran."""

import asyncio
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel

from mizan.client import client
from mizan.errors import ApiError
from mizan.setup import register
from tests.django.site.models import Note

ran: Counter[str] = Counter()
meanwhile: list[Callable[[], None]] = []
"""What happens while `slow_user` runs, after it has read its data."""


class Profile(BaseModel):
    user_id: int
    name: str


@dataclass
class Moment:
    id: uuid.UUID
    day: dt.date
    at: dt.datetime


@client
def echo(request: HttpRequest, text: str) -> str:
    ran["echo"] += 1
    return text


@client
async def echo_later(request: HttpRequest, text: str) -> str:
    return f"later: {text}"


def passed_on(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not know async functions."""

    @wraps(fn)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return inner


@client
@passed_on
async def echo_hidden(request: HttpRequest, text: str) -> str:
    return f"hidden: {text}"


@client
def say(request: HttpRequest) -> str:
    return "said"


register(say, "say_it")


@client
def moment(request: HttpRequest) -> list[Moment]:
    return [Moment(uuid.UUID(int=7), dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC))]


@client
def unspeakable(request: HttpRequest) -> Any:
    return object()


# --- user: two functions that share a parameter, a page, and a mutation


@client(context="user")
def user_profile(request: HttpRequest, user_id: int) -> Profile:
    ran["user_profile"] += 1
    return Profile(user_id=user_id, name=User.objects.get(pk=user_id).first_name)


@client(context="user")
def user_notes(request: HttpRequest, user_id: int) -> list[str]:
    return [note.text for note in Note.objects.filter(owner=user_id).order_by("pk")]


@client(context="user", route="/profile/<int:user_id>/")
def profile_page(request: HttpRequest, user_id: int, tab: str = "all") -> HttpResponse:
    return HttpResponse(f"{User.objects.get(pk=user_id).first_name} {tab}")


@client(affects="user", websocket=True)
def rename_user(request: HttpRequest, user_id: int, name: str) -> Profile:
    User.objects.filter(pk=user_id).update(first_name=name)
    return Profile(user_id=user_id, name=name)


@client(affects=user_profile, merge="prefs")
def touch(request: HttpRequest, user_id: int | None = None) -> None:
    ran["touch"] += 1


@client(affects="user", route="/rename/<int:user_id>/")
def rename_page(request: HttpRequest, user_id: int) -> HttpResponse:
    if name := request.POST.get("name"):
        User.objects.filter(pk=user_id).update(first_name=name)
    if name == "boom":
        raise RuntimeError("after the change")
    return HttpResponse("renamed")


@client(affects="user", route="/rename-template/")
def rename_template(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "site/broken.html")


@client(affects="user")
def note_and_fail(request: HttpRequest, user_id: int, how: str) -> None:
    Note.objects.create(owner=user_id, text="left behind")
    raise FAILURES[how]


FAILURES: dict[str, Exception] = {
    "unexpected": RuntimeError("the password is hunter2"),
    "missing": Http404("no such note"),
    "denied": PermissionDenied("not yours"),
    "invalid": ValidationError({"text": ["too short"]}),
    "own": ApiError(409, "conflict", "somebody was faster", details={"version": 2}),
}


# --- prefs: a function of fewer parameters than the other


@client(context="prefs")
def prefs_summary(request: HttpRequest, user_id: int) -> str:
    return f"{user_id}"


@client(context="prefs")
def prefs_detail(request: HttpRequest, user_id: int, locale: str = "en") -> str:
    return f"{user_id} {locale}"


@client(affects="prefs")
def set_pref(request: HttpRequest, user_id: int, locale: str) -> None: ...


# --- account: mutations whose result is what a read returns


@client(context="account")
def account(request: HttpRequest, user_id: int) -> Profile:
    return Profile(user_id=user_id, name=User.objects.get(pk=user_id).first_name)


@client(context="account")
def account_page(request: HttpRequest, user_id: int, page: int = 1) -> Iterator[int]:
    return iter([user_id, page])


@client(context="account", route="/account/<int:user_id>/")
def account_view(request: HttpRequest, user_id: int) -> HttpResponse:
    return HttpResponse("account")


@client(context="labels")
def labels(request: HttpRequest, label: list[str]) -> list[str]:
    return sorted(label)


@client(merge="labels")
def relabel(request: HttpRequest, label: list[str]) -> list[str]:
    label.sort()
    return label


@client(context="motto")
def motto(request: HttpRequest) -> str:
    return "onwards"


@client(merge=["account", account])
def rename_account(request: HttpRequest, user_id: int | None = None, name: str = "") -> Profile:
    User.objects.filter(pk=user_id).update(first_name=name)
    return Profile(user_id=user_id or 0, name=name)


@client(merge=account_page)
def turn_page(request: HttpRequest, user_id: int, page: int | None = None) -> Iterator[int]:
    return iter([user_id, page or 1])


@client(affects="user", merge=["motto", prefs_summary])
def set_motto(request: HttpRequest, text: str) -> str:
    return text


# --- who may


@client(auth=True)
def members_only(request: HttpRequest) -> str:
    return request.user.get_username()


@client(auth="staff")
def staff_only(request: HttpRequest) -> str:
    return "staff"


@client(auth="superuser")
def superusers_only(request: HttpRequest) -> str:
    return "superuser"


@client(auth=lambda request: request.headers.get("X-Pass") == "open")
def with_a_pass(request: HttpRequest) -> str:
    return "passed"


async def has_a_pass(request: HttpRequest) -> bool:
    return request.headers.get("X-Pass") == "open"


@client(auth=has_a_pass)
def with_an_awaited_pass(request: HttpRequest) -> str:
    return "passed"


@client(context="guarded", auth="staff")
def guarded(request: HttpRequest) -> str:
    ran["guarded"] += 1
    return "secret"


@client(context="guarded")
def unguarded(request: HttpRequest) -> str:
    ran["unguarded"] += 1
    return "open"


@client(context="judged", auth=lambda request: True)
def judged(request: HttpRequest) -> str:
    return "judged"


@client(auth=True, route="/members/")
def members_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("members")


@client(auth="staff", route="/staff/")
def staff_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("staff")


# --- what goes into a response


@client(context="mine")
def mine(request: HttpRequest, look: str = "") -> str:
    match look:
        case "session":
            return str(request.session.get("cart"))
        case "absent":
            return str("cart" in request.session)
        case "write":
            request.session["cart"] = 1
        case "csrf":
            return get_token(request)
        case "messages":
            return str([str(message) for message in messages.get_messages(request)])
        case "message":
            messages.info(request, "hello")
        case "nonce":
            return str(request.csp_nonce)  # type: ignore[attr-defined]
        case "become":
            request.user = User.objects.get(username="bob")
        case "login":
            login(request, User.objects.get(username="ann"))
        case "logout":
            logout(request)
    return request.user.get_username()


@client(context="visits", route="/visits/")
def visits(request: HttpRequest) -> HttpResponse:
    return HttpResponse("visited", headers={"X-Mizan-Invalidate": "catalog"})


@client(context="template", route="/template/")
def template_page(request: HttpRequest, show: str = "") -> HttpResponse:
    return TemplateResponse(request, "site/page.html", {"show": show})


@client(context="template", route="/react/")
def react_page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.mjs", {"name": "Ann"})


@client(context="mine", route="/mine/")
def mine_page(request: HttpRequest, look: str = "") -> HttpResponse:
    return HttpResponse(mine(request, look))


@client(context="template", route="/streamed/")
def streamed_page(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


@client(context="template", route="/cookie/")
def cookie_page(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("cookie")
    response.set_cookie("visited", "yes")
    return response


@client(context="template", route="/decided/")
@cache_control(max_age=5, public=True)
def decided_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("decided", headers={"ETag": '"own"'})


@client(context="template", route="/failing/")
def failing_page(request: HttpRequest, status: int = 200, how: str = "") -> HttpResponse:
    if status == 404:
        raise Http404
    if how:
        raise FAILURES[how]
    return HttpResponse(status=status)


# --- a public context with lifetimes of its own


@client(context="catalog", scope="public", ttl=60, swr=30, sie=600, ignore_query="utm_*")
def products(request: HttpRequest, category: str, page: int | None = None) -> list[str]:
    ran["products"] += 1
    return [category, f"page {page}"]


@client(context="never", ttl=0)
def never_kept(request: HttpRequest) -> str:
    return "never"


@client(context="loose")
def loose(request: HttpRequest, anything: Any) -> str:
    return repr(anything)


@client(context="loose")
def tags(request: HttpRequest, tag: list[str] = []) -> list[str]:  # noqa: B006
    return tag


# --- routes


@client(context="numbers", route="/number/<int:number>/")
def by_hand(request: HttpRequest, number: int) -> HttpResponse:
    """A page."""
    return HttpResponse(f"number {number}")


@client(context="words", route="/later/<str:word>/")
async def later_page(request: HttpRequest, word: str) -> HttpResponse:
    return HttpResponse(f"later {word}")


@client(context="numbers", route="/both/<int:number>/")
def show_both(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"shown {number}")


@client(affects="numbers", route="/both/<int:number>/")
def change_both(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"changed {number}")


@client(affects="numbers", route="/hook/")
@csrf_exempt
def hook(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hooked")


@client(route="/taken/")
def taken(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never seen: the site has this URL itself")


@client(route="/no-response/")
def no_response(request: HttpRequest) -> Any:
    return {"not": "a response"}


# --- transactions


@client(affects="user")
def rename_in_parts(request: HttpRequest, user_id: int, name: str) -> None:
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(first_name=name)
    ran["rename_in_parts"] += 1


@client(affects="user")
def rename_meanwhile(request: HttpRequest, user_id: int, name: str, *, fail: bool) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)
    for action in meanwhile:
        action()
    if fail:
        raise RuntimeError("after the change")


@client(affects="user")
def rename_and_remember(request: HttpRequest, user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)
    request.session["renamed"] = True
    for action in meanwhile:
        action()


@client(context="slow")
def slow_user(request: HttpRequest, user_id: int) -> str:
    ran["slow_user"] += 1
    name = User.objects.get(pk=user_id).first_name
    for action in meanwhile:
        action()
    return name


@client(affects=["user", "slow"])
def rename_slow(request: HttpRequest, user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)


def arrives(request: HttpRequest) -> bool:
    known = bool(request.user.is_authenticated)
    for action in meanwhile:
        action()
    return known


@client(context="myself", auth=arrives, ttl=60)
def myself(request: HttpRequest) -> Any:
    user: Any = request.user
    return user.first_name


@client(affects="myself")
def rename_myself(request: HttpRequest, user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)


@client(context="lagging", hold=30)
def lagging(request: HttpRequest, number: int) -> int:
    return number


# --- what is said at run time


@client(context="squad")
def squad(request: HttpRequest, squad_id: int) -> str:
    ran["squad"] += 1
    owner = User.objects.get(pk=squad_id)
    request.mizan.depends("user", user_id=owner.pk)  # type: ignore[attr-defined]
    return owner.first_name


@client(context="squad", route="/squad/<str:name>/")
def squad_page(request: HttpRequest, name: str) -> HttpResponse:
    owner = User.objects.get(username=name)
    request.mizan.depends("user", user_id=owner.pk)  # type: ignore[attr-defined]
    return HttpResponse(owner.first_name)


@client
def note(request: HttpRequest, user_id: int, *, fail: bool = False) -> None:
    Note.objects.create(owner=user_id, text="noted")
    request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]
    if fail:
        raise RuntimeError("after the change")


@client(affects="prefs")
def note_prefs(request: HttpRequest, user_id: int) -> None:
    request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]


@client(affects="user", route="/rename-streamed/<int:user_id>/")
def rename_streamed(request: HttpRequest, user_id: int) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "begun "
        for action in meanwhile:
            action()
        User.objects.filter(pk=user_id).update(first_name=request.POST["name"])
        yield "done"

    return StreamingHttpResponse(parts())


@client(affects="user", route="/rename-rendered/<int:user_id>/")
def rename_while_rendering(request: HttpRequest, user_id: int) -> HttpResponse:
    def renamed() -> str:
        for action in meanwhile:
            action()
        User.objects.filter(pk=user_id).update(first_name=request.POST["name"])
        if request.POST["name"] == "boom":
            raise RuntimeError("after the change")
        return "renamed"

    return TemplateResponse(request, "site/call.html", {"call": renamed})


staying: list[asyncio.Event] = []
"""Set when a function that never ends has changed what it changes."""


async def stay() -> HttpResponse:
    staying[0].set()
    await asyncio.Event().wait()
    return HttpResponse("nobody gets here")


@client(affects="user")
@csrf_exempt
async def rename_and_stay(request: HttpRequest, user_id: int, name: str) -> None:
    await User.objects.filter(pk=user_id).aupdate(first_name=name)
    await stay()


@client(affects="user", route="/rename-and-stay/<int:user_id>/")
@csrf_exempt
async def rename_and_stay_page(request: HttpRequest, user_id: int, name: str) -> HttpResponse:
    await User.objects.filter(pk=user_id).aupdate(first_name=name)
    return await stay()
