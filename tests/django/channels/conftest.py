"""The site under uvicorn with a channel layer in Redis, and two who are signed in."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client

from tests.django.browsers import signed_in
from tests.django.channels.sockets import PUBSUB, layered, serving
from tests.django.site.rooms import at_the_door, banned


@pytest.fixture(autouse=True)
def everybody_may() -> Iterator[None]:
    """Nobody is banned, and nothing happens at the door."""
    yield
    banned.clear()
    at_the_door.clear()


@pytest.fixture
def channel_layer(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> Iterator[None]:
    """A layer, of another class where a test names one as the parameter."""
    with layered(redis_url, namespace, getattr(request, "param", PUBSUB)):
        yield


@pytest.fixture
async def address(channel_layer: None) -> AsyncIterator[str]:
    """The site; every message asks anew who listens."""
    async with serving(recheck_s=0) as address:
        yield address
    await sync_to_async(connections.close_all)()


@pytest.fixture
def anns(ann: Any) -> Client:
    """Ann's browser."""
    return signed_in(ann)


@pytest.fixture
def bobs(bob: Any) -> Client:
    """Bob's browser."""
    return signed_in(bob)
