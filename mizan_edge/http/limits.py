"""What a client may ask of the public listener: sizes in bytes, times in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one listener."""

    head_bytes: int
    """Of the head of a request."""
    target_bytes: int
    fields: int
    """Field lines in a head."""
    body_bytes: int
    """Of the body of a request; 0: any."""
    connections: int
    """Open at the same time."""
    connections_per_address: int
    """Of these, from one address; 0: any."""
    head_s: float
    """From the first byte of a head to its last."""
    idle_s: float
    """Between two requests."""
    body_s: float
    """Without a byte of a request's body that is waited for."""
    write_s: float
    """Without a byte of the answer being taken."""

    @property
    def shortest_s(self) -> float:
        """The shortest of the times."""
        return min(self.head_s, self.idle_s, self.body_s, self.write_s)
