"""Just enough of a browser for the story: it keeps cookies and sends the CSRF token."""

import http.client
import json
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

TIMEOUT_S = 15.0


class NoAnswer(Exception):
    """A request that got no proper HTTP answer; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for `request`, a method and a path."""

    request: str
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def cache_status(self) -> str:
        """The field's value; empty without one."""
        return ", ".join(self.headers.get_all("Cache-Status", []))

    @property
    def json(self) -> Any:
        """The body's value; None when it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass(slots=True)
class Browser:
    """One visitor of the site at `host`:`port`, with cookies of its own."""

    host: str
    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Reply:
        return self._send("GET", path, None, headers)

    def post_json(self, path: str, value: object, **headers: str) -> Reply:
        body = json.dumps(value).encode()
        return self._send("POST", path, body, {"Content-Type": "application/json", **headers})

    def post_form(self, path: str, fields: dict[str, str]) -> Reply:
        body = urlencode(fields).encode()
        return self._send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Origin"] = f"http://{self.host}:{self.port}"
            headers["X-CSRFToken"] = self.cookies.get("csrftoken", "")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise NoAnswer(f"{method} {path}: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()
        self._keep(answer.headers)
        return Reply(f"{method} {path}", answer.status, answer.headers, text)

    def _keep(self, headers: http.client.HTTPMessage) -> None:
        for line in headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
