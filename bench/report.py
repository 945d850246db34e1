"""From rounds to tables: medians, ratios, and the Markdown that docs/performance.md holds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from bench.client import Paced
from bench.half_load import HalfLoad
from bench.loads import READS_ONLY
from bench.rounds import Measured, Round

EDGE = "edge"
_TITLES = {"nginx": "nginx", "varnish": "Varnish", READS_ONLY: READS_ONLY}
# Above this, it is not the server that was measured.
_CLIENT_BUSY = 0.95


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(edge: Sequence[Round], other: Sequence[Round], of: Callable[[Round], float]) -> float:
    """The median of the ratios of rounds that ran one after the other: a machine that was slow for a while was so for
    both."""
    return median(of(one) / of(another) for one, another in zip(edge, other, strict=True))


def ratios(measured: Iterable[Measured]) -> str:
    """Requests per second of the edge to those of the others, beside what is wanted; and processor time likewise."""
    rows = []
    for one in measured:
        edge = one.rounds[EDGE]
        for name, rounds in one.rounds.items():
            if name == EDGE:
                continue
            rate = ratio(edge, rounds, lambda r: r.rate)
            wanted = one.load.wanted.get(name)
            limit = "" if wanted is None else f"{wanted:.2f}{'' if rate >= wanted else ' (missed)'}"
            cpu = ratio(rounds, edge, lambda r: r.cpu_us)
            rows.append([f"{one.load.name}: {one.load.about}", _TITLES[name], f"{rate:.2f}", limit, f"{cpu:.2f}"])
    return table(["load", "edge to", "requests/s", "wanted", "requests per CPU second"], rows)


def figures(measured: Iterable[Measured]) -> str:
    """The medians of every load and server."""
    rows = []
    for one in measured:
        for name, rounds in one.rounds.items():
            client = median(r.client_busy for r in rounds)
            rows.append(
                [
                    one.load.name,
                    name,
                    f"{median(r.rate for r in rounds):,.0f}{' (wrk)' if client > _CLIENT_BUSY else ''}",
                    f"{median(r.cpu_us for r in rounds):.1f}",
                    f"{median(r.store_us for r in rounds):.1f}" if name == EDGE else "",
                    *(f"{median(values):.2f}" for values in _latencies(rounds)),
                    f"{median(r.busy for r in rounds):.0%}",
                ]
            )
    head = ["load", "server", "requests/s", "CPU us", "of Redis us", "p50 ms", "p99 ms", "p99.9 ms", "busy"]
    return table(head, rows)


def _latencies(rounds: Sequence[Round]) -> list[list[float]]:
    return [[r.p50_ms for r in rounds], [r.p99_ms for r in rounds], [r.p999_ms for r in rounds]]


def half_load(half: HalfLoad) -> str:
    """Latencies at half of nginx's load."""
    rows = []
    for name, rounds in half.rounds.items():
        values = [median(r.percentile_ms(percent) for r in rounds) for percent in (50, 99, 99.9)]
        late = sum(r.late for r in rounds) / sum(len(r.latencies_ns) for r in rounds)
        rows.append([name, *(f"{value:.3f}" for value in values), f"{late:.1%}"])
    title = f"{half.rate:,.0f} requests/s"
    return table([title, "p50 ms", "p99 ms", "p99.9 ms", "the client was late"], rows)


def rounds_json(measured: Iterable[Measured]) -> dict[str, Mapping[str, list[dict[str, float]]]]:
    """Every round, for the file beside the tables."""
    return {
        one.load.name: {
            name: [{field: getattr(r, field) for field in Round.__slots__} for r in rounds]
            for name, rounds in one.rounds.items()
        }
        for one in measured
    }


def half_load_json(half: HalfLoad) -> dict[str, object]:
    """The same of latencies at half of nginx's load."""
    return {"rate": half.rate, "rounds": {name: [_paced(r) for r in rounds] for name, rounds in half.rounds.items()}}


def _paced(paced: Paced) -> dict[str, float]:
    values = {f"p{percent}_ms": paced.percentile_ms(percent) for percent in (50, 90, 99, 99.9)}
    return {"requests": len(paced.latencies_ns), "late": paced.late, **values}
