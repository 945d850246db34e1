"""Seals: what lies in a shared Redis is believed only if we wrote it, under that very key.

A sealed value is a 32-byte HMAC-SHA256 followed by the bytes it covers. The MAC covers the entry's key as well, so
that a value moved to another key is as dead as one with a changed byte.
"""

import hashlib
import hmac

from mizan_core.keys import secret_bytes

MAC_BYTES = 32
_PURPOSE = b"mizan seal v1"


def sealing_key(secret: str | bytes) -> bytes:
    """The key of the seal, derived from the cache secret. Raises SecretError."""
    return hmac.new(secret_bytes(secret), _PURPOSE, hashlib.sha256).digest()


def seal(sealing: bytes, key: str, data: bytes) -> bytes:
    """`data` sealed for the entry `key` with a key of `sealing_key()`."""
    return _mac(sealing, key, data) + data


def unseal(sealing: bytes, key: str, sealed: bytes) -> bytes | None:
    """The bytes that were sealed for `key`, or None where the seal does not hold."""
    mac, data = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
    return data if hmac.compare_digest(mac, _mac(sealing, key, data)) else None


def _mac(sealing: bytes, key: str, data: bytes) -> bytes:
    # A key has no NUL, so key and data cannot be shifted against each other.
    return hmac.digest(sealing, key.encode() + b"\0" + data, "sha256")
