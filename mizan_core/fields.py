"""The fields that an origin and the caches before it have between them, and the name of such a cache. This is where
they are spelled; `scopes` has the grammar of what most of them say.
"""

PREFIX = "X-Mizan-"
"""What begins like this is for the origin to say: a client can neither send nor see it."""
INVALIDATE = "X-Mizan-Invalidate"
"""On any response: the scopes that are purged."""
SCOPE = "X-Mizan-Scope"
"""The scopes that a response depends on, beside what its URL says."""
PARTITION = "X-Mizan-Partition"
"""For whom a response was made."""
CACHE_CONTROL = "Mizan-Cache-Control"
"""Directives for these caches alone, RFC 9213. No client sees it either."""

CACHE_NAME = "mizan-edge"
"""What a cache calls itself in `Via` (RFC 9110 section 7.6.3) and `Cache-Status` (RFC 9211)."""
