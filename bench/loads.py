"""The loads: what is asked for, how the edge is started for it, and which ratio is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from bench.requests import browser, reads, signed_in, uniform, with_mutations, zipf

READS_ONLY = "reads only"
"""The edge again, with the reads of a load alone."""
_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Facts:
    """What requests are made of that is only known at the start."""

    secret: str
    """That tokens are signed with."""
    now_s: int
    etag: str
    """The entity tag of every page of 1 KiB."""
    heads: int = 100_000
    """Distinct heads in a load: more than the edge remembers."""


Make = Callable[[Facts], list[bytes]]


@dataclass(frozen=True, slots=True)
class Load:
    """A load: `make` gives the requests, which are sent in turn."""

    name: str
    about: str
    make: Make
    wanted: Mapping[str, float] = field(default_factory=dict)
    """The least ratio of the edge's requests per second to those of another."""
    near: int | None = None
    """What replaces the edge's `--near`."""
    compress: str = "nothing"
    """The edge's `--compress`: the peers do not, so that what is on the wire is equal."""
    hits: bool = True
    """Whether every answer is a hit after the warm-up."""
    fresh: bool = False
    """Whether each request is for a URL that nobody has asked for."""
    against_reads: Make | None = None
    """Where the edge is compared with itself: the requests of the other run."""


def _heads(folder: str, urls: int, facts: Facts) -> list[bytes]:
    return reads(folder, uniform(urls, max(facts.heads, urls)))


def _known(_: Facts) -> list[bytes]:
    return reads("1k", uniform(_PAGES, _PAGES))


def _zipf(urls: int, facts: Facts) -> list[bytes]:
    return reads("1k", zipf(urls, max(facts.heads, urls)))


def _signed_in(facts: Facts) -> list[bytes]:
    return signed_in(uniform(_PAGES, facts.heads), facts.secret, now_s=facts.now_s)


def _hot(_: Facts) -> list[bytes]:
    return [browser("/1k/0/", 0)]


def _not_modified(facts: Facts) -> list[bytes]:
    return reads("1k", uniform(_PAGES, facts.heads), more=f"If-None-Match: {facts.etag}\r\n")


def _misses(facts: Facts) -> list[bytes]:
    return [browser("/1k/@NEW@/", visitor) for visitor in range(facts.heads)]


def _mutations(facts: Facts) -> list[bytes]:
    order = uniform(_PAGES, facts.heads)
    return with_mutations(reads("1k", order), order, every=100)


_thousand = partial(_heads, "1k", _PAGES)

LOADS = (
    Load("heads-1k", "1,000 URLs", _thousand, {"nginx": 1.1, "varnish": 1.6}),
    Load("heads-20k", "20,000 URLs", partial(_heads, "1k", 20_000), {"nginx": 1.25, "varnish": 1.5}),
    Load("heads-200k", "200,000 URLs", partial(_heads, "1k", 200_000)),
    Load("zipf-1k", "1,000 URLs, Zipf", partial(_zipf, _PAGES)),
    Load("zipf-20k", "20,000 URLs, Zipf", partial(_zipf, 20_000)),
    Load("zipf-200k", "200,000 URLs, Zipf", partial(_zipf, 200_000)),
    Load("signed-in", "1,000 URLs of 100 users with tokens", _signed_in, {"nginx": 1.0, "varnish": 1.5}),
    Load("known", "1,000 URLs, each with one head", _known),
    Load("hot", "one URL, one head", _hot, {"nginx": 1.25, "varnish": 1.8}),
    Load("not-modified", "304 Not Modified", _not_modified),
    Load("10k", "bodies of 10 KiB", partial(_heads, "10k", _PAGES)),
    Load("100k", "bodies of 100 KiB", partial(_heads, "100k", 100)),
    Load("compressed", "the edge compresses, its default", _thousand, compress="shared"),
    Load("redis", "the edge's hits from Redis", _thousand, {"nginx": 0.3}, near=0),
    Load("misses", "every URL new", _misses, hits=False, fresh=True),
    Load("pass", "passed through, 1 KiB", partial(_heads, "pass", _PAGES), {"nginx": 0.3}, hits=False),
    Load("mutations", "1% mutations", _mutations, {READS_ONLY: 0.5}, against_reads=_thousand),
)
