"""Benchmarks beside nginx and Varnish, on the same processor: `make bench`.

    loads, requests      what clients ask for
    servers, processes   the edge, its peers, the origin and Redis, each on its processors
    wrk, client          load as fast as it goes (wrk.lua), or at a rate; and warming up
    rounds, half_load    who is measured when
    purges, mutations    what purges take, in the store and over the edge
    entries              what an entry costs in memory
    hit_rate, policies   what a memory that is too small keeps
    report, machine      medians, ratios, tables; and what they depend on

Nothing imports it. README.md says how to read what it prints.
"""
