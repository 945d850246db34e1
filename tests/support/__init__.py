"""Helpers that tests share; fixtures are in tests/conftest.py."""
