"""Clients: their connections, what they send, and what they get."""
