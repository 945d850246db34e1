"""What tells an application who is asking, beside a token: the defaults that edge and origin share."""

IDENTITY_COOKIES = ("sessionid",)
"""Cookies that may stand beside a token."""
IGNORED_COOKIES = ("csrftoken", "_ga*", "_gid", "_gcl*")
"""Cookies that say nothing about who is asking."""
IDENTITY_HEADERS = (
    "Remote-User",
    "X-Remote-User",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Auth-Request-*",
    "Cf-Access-*",
    "X-Amzn-Oidc-*",
    "X-Goog-Iap-*",
    "X-Api-Key",
)
"""Request fields by which a proxy or a client tells who is asking."""
