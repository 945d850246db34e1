"""Seals: what lies in a shared Redis is believed only if we wrote it, under that very key.

A sealed value is a 32-byte HMAC-SHA256 followed by the bytes it covers. The MAC covers the entry's key as well, so
that a value moved to another key is as dead as one with a changed byte.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import Any

from mizan_core.keys import secret_bytes

MAC_BYTES = 32
_BLOCK_BYTES = 64
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
    inner, outer = _states(sealing)
    mac = inner.copy()
    # A key has no NUL, so key and data cannot be shifted against each other.
    mac.update(b"%b\0%b" % (key.encode(), data))
    whole = outer.copy()
    whole.update(mac.digest())
    digest: bytes = whole.digest()
    return digest


# Every entry that is read is verified: from here it costs half of what `hmac.digest` takes to begin anew.
@lru_cache(maxsize=8)
def _states(sealing: bytes) -> tuple[Any, Any]:
    """The two hashes of RFC 2104 section 2 that have taken in the key; section 4 suggests to keep them."""
    block = sealing.ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))
    return inner, outer
