"""Proofs with many processes, and the edges that they and the suite's shorter ones run: `make prove`."""
