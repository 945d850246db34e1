"""Mizan's Django adapter: declared functions over HTTP, and everything that a cache in front needs to know of them.

From the top; each line uses those below it alone, which a contract in pyproject.toml holds. What names a file is what
an application or its settings name, the rest are rooms, whose own texts list what is in them.

apps            the INSTALLED_APPS entry "mizan"
asgi            `wrap_asgi`: WebSockets beside HTTP
test            `assertPurges` and friends, for an application's tests

management      `export_edge_manifest`, `export_mizan_schema`, `mizan_check`
checks          what the declarations contradict, and what keeps pages out of caches, as system checks

allauth         optional app: django-allauth's sign-up, sign-in and so on as functions
channels        `ReactChannel`, and calls of functions with `websocket=True`
forms           Django's forms as functions
jwt             optional app: access and refresh tokens for clients without cookies
setup           `mizan_clients`, `register`: what an application calls while it starts
ssr             React components as templates, rendered by Node or Bun

client          `@client`: what an application writes
middleware      optional: tokens and `request.mizan` in every view
routes          functions with `route=` as URL patterns
urls            contexts, calls and the session endpoint

http            the endpoints, and the pages of functions with `route=`
request         one request: who asks, what went into its response, what it changes, what the response says of that
cache           `purge()` and all that purges outside of a response, and the origin's own cache of bundles
db, declare     transactions and commits; settings, and what the declared functions come to

errors          exceptions -> responses
server_function functions that are written as classes
"""

from mizan.asgi import wrap_asgi

__all__ = ["wrap_asgi"]
