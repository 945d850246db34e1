"""TLS on both sides: what clients are shown, and by whom an origin is verified.

A listener keeps the context that it began with, so a renewed certificate cannot be a new context. It is chosen anew at
each handshake instead: OpenSSL asks for it after a ClientHello, also after one that names no server. The connections
that stand are not touched.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mizan_core.errors import MizanError

# For TLS 1.2: forward secrecy and authenticated encryption alone. All of TLS 1.3's are so.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_PROTOCOLS = ("http/1.1",)

_UNKNOWN_ISSUER = "nobody who is trusted here vouches for its certificate: name its authority's file in origin_ca"
_OTHER_NAME = "its certificate is for another name: write the name that it is for into the origin's URL"
# By OpenSSL's X509_V_ERR_ numbers.
_UNVERIFIED = {
    9: "its certificate is not valid yet: compare the clocks of the two machines",
    10: "its certificate has expired: renew it there",
    18: _UNKNOWN_ISSUER,
    19: _UNKNOWN_ISSUER,
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


class TlsError(MizanError):
    """A file of certificates or keys that cannot be used; the line names the setting and says what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with those that lead to its root, and its key, as PEM texts."""

    certificate: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Self:
        """The pair in two files, tried. Raises TlsError, which never shows what is in them."""
        pair = cls(_text("tls_cert", certificate), _text("tls_key", key))
        if "-----BEGIN CERTIFICATE-----" not in pair.certificate:
            raise TlsError(f"tls_cert: {certificate} holds no certificate: give a PEM file that does")
        if "PRIVATE KEY-----" not in pair.key:
            raise TlsError(f"tls_key: {key} holds no private key: give a PEM file that does")
        if "ENCRYPTED" in pair.key:
            raise TlsError(f"tls_key: {key} is encrypted: decrypt it, with `openssl pkey` for example")
        try:
            _server_context(pair)
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
                raise TlsError(f"tls_key: {key} is not the key of the certificate in {certificate}") from None
            why = (error.reason or "unreadable").replace("_", " ").lower()
            raise TlsError(f"tls_cert: {certificate} and {key} cannot be used ({why}): make them anew") from None
        return pair


class Certificate:
    """What the public listener shows to clients.

    # mutable state: the `pair` in use, and `_context`, which is made of it.
    """

    def __init__(self, pair: Pair) -> None:
        """`pair` has been tried by `Pair.read`, here or in the keeper."""
        self.use(pair)
        self.context = _server_context(pair)
        """For the listener."""
        self.context.sni_callback = self._choose

    def use(self, pair: Pair) -> None:
        """From the next handshake on."""
        self.pair = pair
        self._context = _server_context(pair)

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._context


def origin_context(authorities: Path | None) -> ssl.SSLContext:
    """How an origin is spoken to: verified by the authorities in a PEM file, else by the system's. Raises TlsError."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise TlsError(f"origin_ca: {authorities} holds no certificate: give a PEM file that does") from None
    except OSError as error:
        raise TlsError(f"origin_ca: {authorities} cannot be read ({error.strerror})") from None
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def why_not(error: ssl.SSLError) -> str:
    """Why TLS to an origin has failed, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _UNVERIFIED.get(error.verify_code, f"its certificate does not hold ({error.verify_message})")
    return "it and the edge agree on no TLS: write http:// into its URL if it speaks none"


def _server_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that renegotiates all the time costs far more than it pays.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(_PROTOCOLS)
    with _file(pair.certificate) as certificate, _file(pair.key) as key:
        context.load_cert_chain(certificate, key)
    return context


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A path to a text, since OpenSSL takes nothing else; in memory alone where that is possible: it may be a key."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("mizan-pem"), "w") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w") as named:
            named.write(text)
            named.flush()
            yield named.name


def _text(setting: str, path: Path) -> str:
    try:
        # Around PEM anything may stand, and is not read.
        return path.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise TlsError(f"{setting}: {path} cannot be read ({error.strerror}): give a file that the edge may") from None
