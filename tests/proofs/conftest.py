"""Fixtures of the proofs: those of the edge's tests that start real processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge.conftest import manifest, origin, serve, server
from tests.proofs.edges import Start, starting
from tests.support.killable import Redis
from tests.support.served import Serve

__all__ = ["manifest", "origin", "serve", "server"]


@pytest.fixture
async def start(serve: Serve, server: Redis, manifest: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts edges on one Redis."""
    async with starting(serve, server, manifest, tmp_path) as start:
        yield start
