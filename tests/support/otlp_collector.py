"""A collector of OpenTelemetry traces: OTLP over HTTP, read with the protocol's own message classes."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """answers: with this status. hangs: until it is set. spans, tokens: what came."""

    port: int = 0
    answers: int = 200
    goes_on: threading.Event = field(default_factory=threading.Event)
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    requests: int = 0

    def traces(self) -> dict[bytes, list[Span]]:
        """Return the spans of each trace that is whole: its root has come."""
        roots = {span.trace_id for span in self.spans if not span.parent_span_id}
        return {one: [span for span in self.spans if span.trace_id == one] for one in roots}


@contextmanager
def otlp_collector(port: int = 0, answers: int = 200, *, hangs: bool = False) -> Iterator[Collector]:
    """Listen on loopback until the end of the block."""
    collector = Collector(answers=answers)
    if not hangs:
        collector.goes_on.set()

    class _Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests += 1
            collector.goes_on.wait(60)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.tokens.add(self.headers.get("Authorization", ""))
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                told = {one.key: one.value.string_value for one in of_resource.resource.attributes}
                collector.resources.append(told)
                for scope in of_resource.scope_spans:
                    collector.spans += scope.spans
            self.send_response(collector.answers)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), _Receiver)
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.goes_on.set()
        server.shutdown()
        server.server_close()
