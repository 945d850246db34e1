"""What deploy/ asks Prometheus for is something that an edge tells, and means there what it means elsewhere."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import promql_parser as promql
import pytest
import yaml

import mizan_edge.admin
from mizan_edge.admin.series import COUNTERS, GAUGES, HISTOGRAMS
from mizan_edge.cli.sampling import Scrape, view
from mizan_edge.serving.requests import What
from tests.support.edge import RunningEdge
from tests.support.metrics import families

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Prometheus' own, beside those of an edge.
TARGET_LABELS = {"job", "instance"}
# As Grafana puts them in.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$context": ".*"}


def asked() -> Iterator[str]:
    """Every expression, as Prometheus gets it."""
    for rule in RULES:
        yield rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield expression
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]


def selectors(expression: str) -> list[promql.VectorSelector]:
    """The series that an expression selects. Raises ValueError for what is no PromQL."""
    found: list[promql.VectorSelector] = []

    def visit(part: promql.Expr) -> None:
        if isinstance(part, promql.VectorSelector):
            found.append(part)
        elif isinstance(part, promql.MatrixSelector):
            found.append(part.vector_selector)

    promql.walk(promql.parse(expression), visit)
    return found


async def test_every_series_that_is_asked_for_is_told_under_labels_that_it_has(edge: RunningEdge):
    await edge.get("/catalog/a/")
    told = {"up": set[str]()}
    for name, family in (await families(edge)).items():
        labels = {label for sample in family.samples for label in sample.labels}
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        told |= {name + suffix: labels for suffix in suffixes}
    for series in (*COUNTERS, *GAUGES, *HISTOGRAMS):  # those that have not happened yet have no samples
        for name in told:
            if name.startswith(series.name):
                told[name] = told[name] | set(series.labels)
    expressions = list(asked())
    assert len(expressions) > 40
    for expression in expressions:
        selected = selectors(expression)
        assert selected
        for selector in selected:
            assert selector.name in told, expression
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= told[selector.name] | TARGET_LABELS, expression


def test_every_value_that_is_asked_for_is_one_that_there_is():
    known = {series.labels[0]: set(series.known) for series in (*COUNTERS, *GAUGES) if series.known}
    known |= {"outcome": set(get_args(What)), "job": {"mizan-edge"}}
    values = [
        (matcher.name, value)
        for expression in asked()
        for selector in selectors(expression)
        for matcher in selector.matchers.matchers
        for value in matcher.value.split("|")
        if value != ".*"
    ]
    assert {"outcome", "job", "kind"} <= {name for name, _ in values}
    for name, value in values:
        assert value in known[name]


COUNTS: dict[str, int] = {outcome: 2**i for i, outcome in enumerate(get_args(What))}
"""Requests by outcome, no two sums of which are alike."""


def outcomes_in(expression: str) -> set[str]:
    return {name for names in re.findall(r'outcome=~"([^"]*)"', expression) for name in names.split("|")}


def ratios_of_prometheus() -> set[float]:
    """What each expression that divides requests that were answered from the cache comes to."""
    found = set()
    for expression in asked():
        numerator, _, denominator = expression.partition("/")
        if "hit" in (cached := outcomes_in(numerator)):
            of = outcomes_in(denominator)
            found.add(sum(COUNTS[name] for name in cached) / sum(COUNTS[name] for name in of))
    return found


def ratio_of_the_page() -> float:
    node = shutil.which("node")
    if node is None:
        # Node is no part of what this project needs to run; but where changes are accepted, nothing goes unchecked.
        if os.environ.get("CI"):
            pytest.fail("no node on PATH: the page's own ratio was not worked out")
        pytest.skip("no node on PATH: the page's own ratio was not worked out")
    traffic = Path(mizan_edge.admin.__path__[0]) / "dashboard" / "traffic.js"
    source = f"import {{ ratio }} from {json.dumps(traffic.as_uri())}\nconsole.log(ratio({json.dumps(COUNTS)}))"
    command = [node, "--no-warnings", "--input-type=module", "--eval", source]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout)


def test_the_hit_ratio_is_the_same_wherever_it_is_told():
    lines = [
        f'mizan_edge_requests_total{{context="user",outcome="{outcome}",detail="",status="200"}} {number}\n'
        for outcome, number in COUNTS.items()
    ]
    scrape = Scrape.parse("# TYPE mizan_edge_requests_total counter\n" + "".join(lines), 1.0)
    cached = sum(COUNTS[outcome] for outcome in ("hit", "stale", "collapsed"))
    ratio = cached / (cached + COUNTS["miss"] + COUNTS["unstorable"])
    assert view(None, scrape).total.hit_ratio == round(ratio, 4)
    assert ratios_of_prometheus() == {ratio}
    assert ratio_of_the_page() == ratio


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_place_of_its_own_and_asks_the_data_source_that_is_chosen(panel: dict[str, Any]):
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    for other in PANELS:
        if other is not panel:
            assert other["id"] != panel["id"]
            beside = other["gridPos"]
            assert (
                place["x"] + place["w"] <= beside["x"]
                or beside["x"] + beside["w"] <= place["x"]
                or place["y"] + place["h"] <= beside["y"]
                or beside["y"] + beside["h"] <= place["y"]
            ), other["title"]
    for asking in (panel, *panel["targets"]):
        assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
