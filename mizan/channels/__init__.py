"""WebSockets: rooms that the server and its clients talk in, and calls of functions with `websocket=True`.

channel      `ReactChannel`: what an application writes
registry     the declared channels by name, each with its models
groups       the way to everybody who listens: the channel layer
visitor      who opened a connection, read anew whenever it matters
commands     what a client may say
calls        a call over a WebSocket, from Django's middleware to the purge
threads      where the application's code runs
rooms        one connection's subscriptions
connection   one WebSocket from its handshake to its end
limits       what one connection may cost
checks       system checks

docs/django.md says what is said on a connection.
"""

from mizan.channels.channel import ReactChannel

__all__ = ["ReactChannel"]
