"""Requests that leave for the origin as one before them did, without being read.

All requests of a form (`selecting`) are the same but for values that mean nothing to who forwards them: `Referer`,
those of cookies. Which lines leave, and what is put behind them, follows from their names, from `Connection` and
`Host`, and from the client. So what was done to the lines of one request is done to the bytes of the others of its form
that come over the same connection. What that is, is seen from the bytes of one that was read and has left; nothing is
decided here.
"""

import re
from typing import Self

from mizan_edge.http.limits import Limits
from mizan_edge.http.message import Request, lines_of
from mizan_edge.http.request_parser import RequestHead
from mizan_edge.rules.selecting import Form, Sender

# A fragment, and a target in absolute form, leave otherwise than they came. RFC 9110 section 7.1
_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[!\"$-~]*) HTTP/1\.1")
_LINE_END = b"\r\n"
# Of the requests of one connection: how so many forms of them leave is remembered.
_FORMS = 8


class Onward:
    """How the requests of one form leave that come over one connection."""

    __slots__ = ("_added", "_form", "_gone", "_like", "_limits")

    def __init__(self, form: Form, like: RequestHead, gone: tuple[bytes, ...], added: bytes, limits: Limits) -> None:
        self._form = form
        self._like = like
        self._gone = gone
        self._added = added
        self._limits = limits

    @classmethod
    def of(cls, form: Form, head: RequestHead, id: str, sent: bytes, limits: Limits) -> Self | None:
        """How the other requests of a form leave, if one with this `head` has left by `sent`, under this id; None where
        they have to be read. `head` is of this form."""
        request, raw = head.request, head.raw
        at, sent_at = raw.find(_LINE_END), sent.find(_LINE_END)
        line = _REQUEST_LINE.fullmatch(raw, 0, at)
        fields = lines_of(request.fields)
        said = head.framing.length != 0 or head.expects_continue or "upgrade" in fields.names.at
        if line is None or said or sent[:sent_at] != raw[:at]:
            return None
        came = raw[at + 2 : -4].split(_LINE_END)
        left = sent.replace(_named(id), b"", 1)[sent_at + 2 : -4].split(_LINE_END)
        gone, kept = [], 0
        for number, text in enumerate(came):
            if kept < len(left) and text == left[kept]:
                kept += 1
            elif number in form.varied:
                return None
            else:
                gone.append(b"\r\n%b\r\n" % text)
        # What is known of the others is what they have in common.
        alike = lines_of(fields).at([number for number in range(len(came)) if number not in form.varied])
        like = RequestHead(request.with_lines(alike), head.version, head.framing, False, b"")
        onward = cls(form, like, tuple(gone), b"".join([text + _LINE_END for text in left[kept:]]), limits)
        return onward if onward.sent(raw, id) == sent else None

    def head(self, raw: bytes, id: str) -> RequestHead | None:
        """The head of a request, if it is one of these: with the fields that all of them have, and this id. `raw`: its
        bytes, and nothing behind them."""
        at = raw.find(_LINE_END)
        line = _REQUEST_LINE.fullmatch(raw, 0, at) if at > 0 else None
        if line is None or len(raw) > self._limits.head_bytes or not self._form.matches(raw, at):
            return None
        method, target = line[1].decode(), line[2].decode()
        if len(target) > self._limits.target_bytes:
            return None
        like = self._like.request
        request = Request(method, target, like.host, like.fields, like.scheme, like.version, id)
        return RequestHead(request, self._like.version, self._like.framing, False, raw)

    def sent(self, raw: bytes, id: str) -> bytes:
        """The head with which such a request leaves, under this id."""
        for text in self._gone:
            # Neither a request line nor a value has a line end in it, so this is that line.
            raw = raw.replace(text, _LINE_END, 1)
        return b"%b%b%b\r\n" % (raw[:-2], self._added, _named(id))


class OnwardByForm:
    """How the requests leave that come over one connection.

    # mutable state: `_known`, by the forms that the connection's `sender` writes; None where they have to be read.
    """

    __slots__ = ("_known", "_limits", "_sender")

    def __init__(self, sender: Sender, limits: Limits) -> None:
        self._sender = sender
        self._limits = limits
        self._known: dict[Form, Onward | None] = {}

    def learn(self, head: RequestHead, id: str, sent: bytes) -> None:
        """A request of the sender's has left by `sent`, under this id; others like it may leave like it."""
        form = self._sender.form
        if form is None or form in self._known or not form.matches(head.raw, head.raw.find(_LINE_END)):
            return
        if len(self._known) >= _FORMS:
            self._known.clear()
        self._known[form] = Onward.of(form, head, id, sent, self._limits)

    def known(self) -> Onward | None:
        """How those leave of the form that the sender has now; None where they have to be read."""
        form = self._sender.form
        return self._known.get(form) if form is not None else None


def _named(id: str) -> bytes:
    """The line of a request's id, as `framing.request_head` writes it."""
    return b"X-Request-ID: %b\r\n" % id.encode()
