"""The proxy: it stands in front of a Mizan origin, serves what was declared, and purges what a response says.

From the ground up:

http, cache_control, freshness, cache_status   messages and the HTTP cache's arithmetic
routes, calls, identity, policy, entry         what is asked, for whom, and what may be done about it
origin, embedded, tasks, counters, state       adapters: one kind of I/O each
purge, proxy                                   drivers: one purge, one request
config, server, admin, cli                     the shell: compose, start, stop

The first two floors are pure: no I/O, no clock, no randomness.
"""
