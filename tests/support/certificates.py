"""Certificates made for a test: an authority of its own, and what it vouches for."""

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """An authority that nobody else trusts."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write(self, path: Path) -> Path:
        """Its own certificate, as a PEM file."""
        self._ca.cert_pem.write_to_path(path)
        return path

    def issue(self, certificate: Path, key: Path, *names: str, until: datetime | None = None) -> None:
        """Writes a new certificate for these names, and its key, to files."""
        issued = self._ca.issue_cert(*names, not_before=until and until - timedelta(days=1), not_after=until)
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)

    def client(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context
