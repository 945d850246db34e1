"""What changes data outside of requests."""

from collections.abc import Awaitable, Callable

from django.contrib.auth.models import User
from django.db import transaction

from mizan.cache import purge, purges


def rename_and_purge(user_id: int, name: str) -> None:
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(first_name=name)
        purge("user", user_id=user_id)


@purges("user", user_id="user_id")
def rename(user_id: int | str, name: str, *, fail: bool = False) -> str:
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(first_name=name)
    if fail:
        raise ZeroDivisionError
    return name


@purges("user", user_id=lambda username: User.objects.get(username=username).pk)
@purges("catalog")
def remove(username: str) -> None:
    User.objects.filter(username=username).delete()


@purges("user", user_id="user_id")
async def rename_later(user_id: int, name: str, *, fail: bool = False) -> None:
    await User.objects.filter(pk=user_id).aupdate(first_name=name)
    if fail:
        raise ZeroDivisionError


async def rename_alone(user_id: int, name: str) -> None:
    await User.objects.filter(pk=user_id).aupdate(first_name=name)


@purges("user", user_id="user_id")
async def rename_then(user_id: int, name: str, then: Callable[[], Awaitable[None]]) -> None:
    await rename_alone(user_id, name)
    await then()


@purges("prefs", user_id="user_id", locale="locale")
def set_locale(user_id: int, locale: str) -> None: ...
