"""Keys of cache entries: HMAC-SHA256 over the RFC 8785 text of everything that tells two responses apart."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

import orjson
import rfc8785

from mizan_core.canonical import CanonicalError, canonical
from mizan_core.errors import MizanError

MIN_SECRET_BYTES = 32
ENTRY_DIGITS = 32
"""So many digits of its key stand for an entry in Redis, in each of its indexes, and in memory: 128 bits of an HMAC. Of
a billion entries two share them with a chance of 1 in 10**21, and nobody without the secret can aim at that."""


class SecretError(MizanError, ValueError):
    """A secret that is too short to be one."""


def secret_bytes(secret: str | bytes, *, name: str = "the cache secret") -> bytes:
    """The secret's bytes. Raises SecretError, which names `name` and never the secret, when under 32 bytes."""
    try:
        data = secret.encode() if isinstance(secret, str) else secret
    except UnicodeEncodeError:  # how Python shows an environment variable of other bytes
        raise SecretError(f"{name} is not valid UTF-8") from None
    if len(data) < MIN_SECRET_BYTES:
        raise SecretError(
            f"{name} has {len(data)} bytes and needs at least {MIN_SECRET_BYTES}: "
            "make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
        )
    return data


def derive_cache_key(
    secret: str | bytes,
    context: str,
    params: Mapping[str, object],
    *,
    partition: str,
    rev: int = 0,
    function: str | None = None,
    variant: str | None = None,
) -> str:
    """The key of one entry: 64 lower-case hex digits.

    `partition` is "public", "anon" or "user:<sub>:<pkey>"; `function` is None for a context endpoint, the name for a
    call, the pattern for a view; `variant` is None or the text of `variant_text()`. Parameters that are None are
    absent. Raises SecretError, CanonicalError.
    """
    values = {name: text for name, value in params.items() if (text := canonical(value)) is not None}
    message = _json({"v": 1, "c": context, "f": function, "p": values, "r": rev, "u": partition, "x": variant}, values)
    return hmac.digest(secret_bytes(secret), message, hashlib.sha256).hex()


def variant_text(selected: Mapping[str, str | None]) -> str:
    """The text of a variant: field name (lower case) -> normalised value of the request, None where it has none."""
    pairs: list[list[str | None]] = [[name, selected[name]] for name in sorted(selected)]
    return _json(pairs).decode()


def _json(value: object, names: Iterable[str] = ()) -> bytes:
    """The RFC 8785 text of texts and small integers; `names` are those in it that may not be ASCII."""
    try:
        if all(name.isascii() for name in names):
            # The same bytes, fifty times faster: the two only differ in how they sort other names, and write floats.
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError) as error:
        raise CanonicalError(f"no key can hold this: {error}") from None
