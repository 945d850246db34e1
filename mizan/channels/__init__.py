"""WebSockets: rooms that the server and its clients talk in, and calls of functions with `websocket=True`.

channel      `ReactChannel`: what an application writes
registry     the declared channels by name, each with its models
groups       the way to everybody who listens: the channel layer
visitor      who opened a connection, read anew whenever it matters
asked        what a client may say
calls        a call over a WebSocket, from Django's middleware to the purge
threads      where the application's code runs
rooms        one connection's subscriptions
connection   one WebSocket from its handshake to its end
limits       what one connection may cost
checks       system checks

One connection carries everything, as JSON texts. A client says one of

    {"id": 1, "call": "rename_user", "args": {"user_id": 5, "name": "Ann"}}
    {"id": 2, "subscribe": "chat_channel", "params": {"room": "tea"}}
    {"id": 3, "send": "chat_channel", "params": {"room": "tea"}, "message": {"text": "hello"}}
    {"id": 4, "unsubscribe": "chat_channel", "params": {"room": "tea"}}

and hears, in the order in which it asked, `{"id": 1, ...}` with what POST call/ would answer: `"result"` and, of a
mutation, `"invalidate"` and `"merge"`, or `"error": {"code", "message", "details"?}`. What could not be read far enough
to have an id is answered with the id null. The result of a subscription is `{"params": {...}}`, its parameters with
their defaults; all that comes of it bears the same:

    {"channel": "chat_channel", "params": {"room": "tea"}, "message": {"text": "hello", "user": "ann"}}
    {"channel": "chat_channel", "params": {"room": "tea"}, "error": {"code": "forbidden", ...}}

The second one ends it. The server closes a connection with 1003 after a binary message, 1009 after one that is too
large, 1011 when the channel layer failed, 4401 when its user is no longer who opened it.
"""

from mizan.channels.channel import ReactChannel

__all__ = ["ReactChannel"]
