"""The admin API of a running edge, as commands ask it: one request, its answer, and errors of one line."""

import http.client
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit

from mizan_core.errors import MizanError
from mizan_edge.system.addresses import is_address

# A purge waits for every edge, and a reload for every worker.
_TIMEOUT_S = 60.0
# What is raised where an answer is not what it was taken for.
_OTHERWISE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_UNIX = re.compile(r"(?:unix:(?://)?)?(/[^\0]+)")


class AdminError(MizanError):
    """An admin API that cannot be reached, or that does not do what it was asked.

    `status` is what it has answered with, None where it has not; `problem` its problem document.
    """

    def __init__(self, text: str, status: int | None = None, problem: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(text)
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class ListenerAddress:
    """Where a listener of an edge is found, as somebody wrote it."""

    text: str
    socket_path: str | None = None
    scheme: str = "http"
    netloc: str = "localhost"
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> "ListenerAddress":
        """`127.0.0.1:8081`, `http://host:8081`, `https://host/below`, `unix:/run/admin.sock` or the path alone.

        Raises ValueError.
        """
        if match := _UNIX.fullmatch(text):
            return cls(text, socket_path=match[1])
        if is_address(text):
            return cls(text, netloc=text)
        url = urlsplit(text)
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ValueError(f"{text!r} is no address: write it like 127.0.0.1:8081, https://host or /run/admin.sock")
        url.port  # noqa: B018 - raises ValueError for one that is none
        return cls(text, scheme=url.scheme, netloc=url.netloc, prefix=url.path.rstrip("/"))

    @property
    def base(self) -> str:
        """The URL below which it is found."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"

    def connection(self) -> http.client.HTTPConnection:
        """A connection there, not yet open."""
        if self.socket_path is not None:
            return _Unix(self.socket_path)
        kind = http.client.HTTPSConnection if self.scheme == "https" else http.client.HTTPConnection
        return kind(self.netloc, timeout=_TIMEOUT_S)


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and where it comes from, so that a refusal can say which one it was."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class AdminClient:
    """One admin API. Whatever it is asked raises AdminError where it does not answer, or refuses."""

    address: ListenerAddress
    token: Token | None
    """None for what is open to everybody."""

    def get(self, path: str, query: Iterable[tuple[str, str]] = ()) -> Any:
        """The JSON answer to a GET."""
        try:
            encoded = urlencode([*query])
        except UnicodeEncodeError:
            raise AdminError("an argument is not UTF-8: write the bytes of a URL like %FF") from None
        return self._read(self._ask("GET", f"{path}?{encoded}" if encoded else path))

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to a POST of a JSON body."""
        return self._read(self._ask("POST", path, json.dumps(body).encode()))

    def text(self, path: str) -> str:
        """The text that a GET is answered with."""
        with self.understood():
            return self._ask("GET", path).decode()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """For whatever is done with an answer: where that is not what an edge answers, AdminError is raised."""
        try:
            yield
        except _OTHERWISE:
            raise AdminError(
                f"{self.address.text} is no admin listener of an edge, or that of another version: its answer is not "
                "understood"
            ) from None

    def _read(self, data: bytes) -> Any:
        answer = _document(data)
        if answer is None:
            raise AdminError(f"{self.address.text} is no admin listener of an edge: its answer is not JSON")
        return answer

    def _ask(self, method: str, target: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.value}"
        connection = self.address.connection()
        try:
            connection.request(method, self.address.prefix + target, body, headers)
            response = connection.getresponse()
            status, data = response.status, response.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AdminError(
                f"{self.address.text} cannot be reached ({_why(error)}): does the edge run, and is --admin its address?"
            ) from None
        finally:
            connection.close()
        if status == 200:
            return data
        if status == 401 and self.token is not None:
            raise AdminError(f"{self.address.text} does not know the token of {self.token.source}")
        match _document(data):
            case {"detail": str(detail)} as problem:
                raise AdminError(detail, status, problem)
            case _:
                raise AdminError(f"{self.address.text} is no admin listener of an edge: it answers {status}")


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
