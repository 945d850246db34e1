"""Fixtures of the proofs: those of the edge's tests that start real processes."""

from tests.edge.conftest import manifest, origin, serve, server, start_edge

__all__ = ["manifest", "origin", "serve", "server", "start_edge"]
