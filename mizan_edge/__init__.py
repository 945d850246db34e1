"""The proxy: it stands in front of a Mizan origin, serves what was declared, and purges what a response says.

From the ground up:

http, cache_control, freshness, cache_status, conditional   messages and the HTTP cache's arithmetic
routes, calls, identity, policy, entry, forwarding, answer  what is asked, for whom, what may be done about it
origin, embedded, journal, tasks, counters                  adapters: one kind of I/O each
cache, purge, flight, proxy, reload, sweeper                drivers: one purge, one request, one manifest
config, listener, admin, edge, cli                          the shell: compose, start, stop

The first two floors are pure: no I/O, no clock, no randomness.
"""
