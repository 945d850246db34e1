"""Traces of OpenTelemetry, as a collector gets them: its own protocol, over HTTP."""

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from mizan_edge.running.tracing import is_wanted, tracing_of
from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge, edges
from tests.support.origin import Names, Origin, Says, until

VIEW = "/profile/5/"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[13]")


@dataclass
class Collector:
    """What it has got."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    async def take(self, request: web.Request) -> web.Response:
        said = ExportTraceServiceRequest.FromString(await request.read())
        for resource in said.resource_spans:
            names = [at.value.string_value for at in resource.resource.attributes if at.key == "service.name"]
            self.services.update(names)
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return web.Response()

    def of(self, name: str) -> Span:
        """The only span of a name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span


def attributes(span: Span) -> dict[str, Any]:
    return {at.key: at.value.string_value or at.value.int_value for at in span.attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as found:
        yield found


@pytest.fixture
def traced(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Edges that are started from now on send their spans there."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    return collector


async def test_a_request_is_a_span_and_so_are_the_origin_redis_and_the_purge_within_it(
    traced: Collector, make_edge: EdgeFactory, origin: Origin, monkeypatch: pytest.MonkeyPatch
):
    collector = traced
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    origin.script = Names()
    edge = await make_edge()
    assert (await edge.get(f"{VIEW}?locale=hunter2", {"traceparent": PARENT, "tracestate": "a=1"})).status == 200
    await until(lambda: len(collector.spans) == 4)
    server, asked = (span for span in collector.spans if span.name == "GET" if span.kind in (2, 3))
    if server.kind != Span.SPAN_KIND_SERVER:
        server, asked = asked, server
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    assert (asked.kind, asked.parent_span_id) == (Span.SPAN_KIND_CLIENT, server.span_id)
    for name in ("redis look-up", "redis store"):
        assert (collector.of(name).trace_id, collector.of(name).parent_span_id) == (server.trace_id, server.span_id)
    # What the origin was told is that it was asked within the second of these.
    assert origin.asked[0].get("traceparent") == f"00-{TRACE}-{asked.span_id.hex()}-01"
    assert origin.asked[0].get("tracestate") == "a=1"
    said = attributes(server)
    assert said["url.path"] == VIEW
    assert (said["http.response.status_code"], said["mizan.cache"]) == (200, "fwd=uri-miss; stored")
    assert (said["mizan.context"], said["mizan.request_id"]) == ("user", origin.asked[0].get("x-request-id"))
    assert "hunter2" not in str(collector.spans)
    assert collector.services == {"shop"}

    collector.spans.clear()
    assert (await edge.request("POST", "/x", body=b"")).status == 200
    await until(lambda: len(collector.spans) == 3)
    by_kind = {span.kind: span for span in collector.spans}
    purge = collector.of("purge")
    assert {span.trace_id for span in collector.spans} == {purge.trace_id} != {server.trace_id}
    assert purge.parent_span_id == by_kind[Span.SPAN_KIND_CLIENT].span_id


async def test_each_request_has_a_trace_of_its_own_failures_are_marked_and_none_is_lost_at_the_end(
    traced: Collector, origin: Origin, redis_url: str, namespace: str, tmp_path: Path
):
    origin.script = lambda asked: Says("x", status=503 if asked.target == "/2/" else 200)
    async with edges(origin.url, redis_url, namespace, tmp_path) as start:
        connections = wire.Connections((await start()).address)
        for number in range(4):
            await connections.request("GET", f"/{number}/", {"User-Agent": "Mozilla/5.0"})
        connections.close()
    assert len(traced.spans) == 8
    told = [TRACEPARENT.fullmatch(asked.get("traceparent") or "") for asked in origin.asked]
    assert len({match[1] for match in told if match}) == 4
    failed = [span for span in traced.spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert [attributes(span)["http.response.status_code"] for span in failed] == [503, 503]
    assert traced.services == {"mizan-edge"}


async def test_without_its_variables_the_context_passes_as_it_came(edge: RunningEdge, origin: Origin):
    await edge.get("/x/", {"traceparent": PARENT, "tracestate": "a=1"})
    (asked,) = origin.asked
    assert (asked.get("traceparent"), asked.get("tracestate")) == (PARENT, "a=1")


async def test_a_hit_with_another_trace_is_a_hit(traced: Collector, make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge()
    await edge.get(VIEW, {"traceparent": PARENT})
    assert (await edge.get(VIEW, {"traceparent": PARENT.replace("b7", "b8")})).hit
    assert (await edge.get(VIEW)).hit
    assert origin.hits == 1


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.test"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a.test"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.test", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.test", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_switch_it_on_and_off(environment: dict[str, str], wanted: bool):
    assert is_wanted(environment) is wanted


def test_where_the_sdk_is_missing_that_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setitem(sys.modules, "mizan_edge.running.otel", None)
    assert tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.test"}) is None
    assert "no traces, although OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install 'mizan-edge[otel]'" in caplog.text
