"""Fixtures of the store's tests: one contract, run over both clients on every Redis at hand."""

from collections.abc import Iterator

import pytest

from tests.core.store.site import RUNNERS, Site, open_site


@pytest.fixture(params=RUNNERS)
def site(any_redis_url: str, namespace: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site of this test alone, over each client on each server."""
    with open_site(any_redis_url, namespace, request.param) as opened:
        yield opened


@pytest.fixture
def plain_site(any_redis_url: str, namespace: str) -> Iterator[Site]:
    """The same over the blocking client alone, for what the scripts decide by themselves."""
    with open_site(any_redis_url, namespace) as opened:
        yield opened
