"""What one connection may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of each WebSocket. A message of a client is as large as a request's body may be, which Django's
    DATA_UPLOAD_MAX_MEMORY_SIZE says."""

    recheck_s: float = 5.0
    """For so long a subscription is served before its user and `authorize` are asked again. 0: for each message."""
    send_timeout_s: float = 20.0
    """A client that takes a message more slowly is left."""
    max_subscriptions: int = 100
