"""JSON Web Tokens for clients that keep no cookies: put "mizan.jwt" into INSTALLED_APPS, and set MIZAN_JWT_SECRET.

Server functions: `jwt_obtain(username, password)`, `jwt_refresh(refresh)`, `jwt_revoke(refresh)`. The access token
comes as `Authorization: Bearer` to Mizan's endpoints and functions with `route=`, and signs in there as a session
would. A refresh token works once: each refresh gives another, and one that comes a second time, which a thief and its
owner both have, ends all that have come from the same sign-in.

An edge knows nothing of these tokens: what comes with one, it forwards and never stores. For hits, exchange it: GET
session/ gives a Mizan Web Token, to be sent in its place.
"""
