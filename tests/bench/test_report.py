"""What becomes of the figures: medians, ratios, percentiles, and what wrk prints."""

import pytest

from bench.client import body_bytes, percentile
from bench.hit_rate import POLICIES, crawled, hit_rate, popular
from bench.loads import LOADS, READS_ONLY
from bench.processes import BenchError
from bench.report import figures, ratios
from bench.rounds import Measured, Round
from bench.servers import fill_in, text
from bench.wrk import parse


def a_round(rate: float, cpu_us: float, client_busy: float = 0.5) -> Round:
    return Round(rate, cpu_us, 0.0, 1.0, 2.0, 3.0, 0.99, client_busy)


def measured(name: str, **rounds: list[Round]) -> Measured:
    (load,) = (load for load in LOADS if load.name == name)
    return Measured(load, {other.replace("_", " "): each for other, each in rounds.items()})


def test_ratios_are_medians_of_rounds_that_ran_one_after_the_other():
    edge = [a_round(100, 10), a_round(50, 20), a_round(100, 10)]
    # The machine was slow in the second round, for both; in the third for nginx alone.
    nginx = [a_round(80, 12), a_round(40, 24), a_round(10, 99)]
    table = ratios([measured("heads-1k", edge=edge, nginx=nginx, varnish=[a_round(80, 15)] * 3)])
    assert table.splitlines()[2:] == [
        "| heads-1k: 1,000 URLs | nginx | 1.25 | 1.10 | 1.20 |",
        "| heads-1k: 1,000 URLs | Varnish | 1.25 | 1.60 (missed) | 1.50 |",
    ]


def test_a_load_of_the_edge_alone_is_compared_with_its_own_reads():
    table = ratios([measured("mutations", edge=[a_round(60, 20)], reads_only=[a_round(100, 10)])])
    assert table.splitlines()[2:] == [f"| mutations: 1% mutations | {READS_ONLY} | 0.60 | 0.50 | 0.50 |"]


def test_figures_say_where_wrk_was_what_was_measured():
    table = figures([measured("hot", edge=[a_round(1000, 10, client_busy=0.99)], nginx=[a_round(1000, 10)])])
    assert table.splitlines()[2:] == [
        "| hot | edge | 1,000 (wrk) | 10.0 | 0.0 | 1.00 | 2.00 | 3.00 | 99% |",
        "| hot | nginx | 1,000 | 10.0 |  | 1.00 | 2.00 | 3.00 | 99% |",
    ]


def test_a_percentile_is_a_value_that_so_many_do_not_exceed():
    values = list(range(1, 1001))
    assert [percentile(values, percent) for percent in (50, 99, 99.9, 100)] == [501, 991, 1000, 1000]
    assert percentile([7.0], 99.9) == 7.0


def line(**changes: float) -> list[str]:
    values = {"requests": 10, "seconds": 2.0, "p50_ms": 1, "p99_ms": 2, "p999_ms": 3, "cpu_s": 1, "errors": 0} | changes
    return ["Running 2s test", "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"]


def test_what_wrk_prints_is_a_rate_and_an_error_spoils_it():
    assert parse(line()).rate == 5.0
    with pytest.raises(BenchError, match="3 of 10 requests failed"):
        parse(line(errors=3))
    with pytest.raises(BenchError, match="no answer at all"):
        parse(line(requests=0))


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n", 10),
        (b"HTTP/1.1 200 OK\r\ncontent-length:7\r\nAge: 1\r\n", 7),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n", 0),
    ],
)
def test_the_body_of_an_answer_is_as_long_as_its_head_says(head: bytes, length: int):
    assert body_bytes(head) == length


def test_a_configuration_is_filled_in_but_for_its_comments(tmp_path):
    template = tmp_path / "a.conf"
    template.write_text("# @NAME@ is filled in\nlisten @PORT@;\n")
    assert fill_in(template, tmp_path / "b.conf", {"PORT": 80}).read_text() == "listen 80;\n"
    with pytest.raises(BenchError, match="@PORT@"):
        fill_in(template, tmp_path / "b.conf", {})


def test_bodies_are_the_same_at_each_run():
    assert text(1024) == text(1024)
    assert len(text(1024)) == 1024


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_keeps_as_much_as_it_may_and_what_is_popular_stays(policy: str):
    make = POLICIES[policy]
    everything = make(200)
    assert [everything.asked(str(number % 100)) for number in range(1000)] == [False] * 100 + [True] * 900
    trace = popular(1000, 20_000)
    # The tenth that is asked for most often gets 0.69 of all requests.
    best = 0.69
    assert 0.4 < hit_rate(make(100), trace) < best


def test_the_edges_memory_loses_little_to_a_scan_and_lru_much():
    trace = popular(2000, 40_000)
    lost = {name: hit_rate(make(100), trace) - hit_rate(make(100), crawled(trace)) for name, make in POLICIES.items()}
    assert lost["near (S3-FIFO)"] < 0.01 < lost["LRU"]
