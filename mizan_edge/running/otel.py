"""Spans as OpenTelemetry's SDK makes and sends them: in batches, by a thread of its own. It may not be installed."""

import asyncio
import re

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mizan_edge.client.access_line import Served, request_target
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.trace import Attributes, Kind, Trace

_CONTEXT = re.compile(rb"\r\n((?i:traceparent|tracestate)):[ \t]*([^\r\n]*)")
_KINDS: dict[Kind, SpanKind] = {"client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_FLUSH_S = 2.0
_CARRIER = TraceContextTextMapPropagator()


class _Span:
    """One span, as a `Trace`."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def child(self, name: str, kind: Kind, attributes: Attributes) -> "_Span":
        within = set_span_in_context(self._span)
        return _Span(self._tracer, self._tracer.start_span(name, within, _KINDS[kind], attributes))

    def told(self) -> list[tuple[str, str]]:
        fields: dict[str, str] = {}
        _CARRIER.inject(fields, set_span_in_context(self._span))
        return list(fields.items())

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OpenTelemetry:
    """The spans of one process."""

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "mizan-edge"}))
        self._provider = TracerProvider(resource=resource)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("mizan_edge")

    def begin(self, head: bytes, peer: Peer) -> Trace:
        """The server's span for a request with this head, within that of whoever sent it."""
        told = {name.decode().lower(): value.decode("latin-1").strip() for name, value in _CONTEXT.findall(head)}
        method = head.partition(b" ")[0].decode()
        attributes: Attributes = {"network.peer.address": peer.address}
        if head:
            attributes |= {"http.request.method": method, "url.path": request_target(head).partition("?")[0]}
        name = method or "request"
        return _Span(self._tracer, self._tracer.start_span(name, _CARRIER.extract(told), SpanKind.SERVER, attributes))

    def end(self, trace: Trace, served: Served) -> None:
        """Ends what `begin` gave."""
        attributes: Attributes = {"mizan.request_id": served.id, "http.response.body.size": served.size}
        if served.status is not None:
            attributes["http.response.status_code"] = served.status
        if served.cache is not None:
            attributes["mizan.cache"] = served.cache
        if served.context is not None:
            attributes["mizan.context"] = served.context
        trace.end(attributes, failed=served.status is None or served.status >= 500 or not served.whole)

    async def close(self) -> None:
        """Sends what waits to be sent; not for long, if nobody takes it: the rest is given up with the process."""
        # It takes as long as its attempts do, unless whoever makes them is told to stop.
        timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._exporter.shutdown)
        await asyncio.to_thread(self._provider.force_flush)
        timer.cancel()
