"""Attributes arrive as they were sent, byte for byte: through the local broker, and as a reply.

The events have the shapes of those of GoogleCloudPlatform/functions-framework-conformance (events/generate/data), each
in both content modes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote
from zlib import crc32

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eaves.artifact import open_artifact
from eaves.local.specs import LocalApp, LocalFunction
from eaves.platform import TriggerSpec
from tests.contract.harness import QUICK, open_local_harness
from tests.fakes.models.graph import write_graph_artifact
from tests.waiting import wait_until

DATABASE = "//firebasedatabase.googleapis.com/projects/_/locations/europe-west1/instances/my-project-id"
TOPIC = "//pubsub.googleapis.com/projects/sample-project/topics/gcf-test"
WRITTEN = "google.firebase.database.ref.v1.written"
SHAPES: list[tuple[str, str, str, Any]] = [
    ("google.firebase.auth.user.v1.created", "//firebaseauth.googleapis.com/projects/my-project-id", "users/UUpby", {}),
    *((WRITTEN, DATABASE, "refs/gcf-test/xyz", {"delta": n}) for n in (None, 1.5, "a", True, ["Grüße", {"d": [1]}])),
    ("google.cloud.pubsub.topic.v1.messagePublished", TOPIC, "", {"message": {"data": "AQID"}}),
]
"""Type, source, subject (empty: none) and data."""
ODD: dict[str, dict[str, str]] = {
    "milliseconds": {"time": "2020-09-29T11:32:00.123Z"},
    "hundredths": {"time": "2018-04-05T17:31:00.78Z"},
    "nanoseconds": {"time": "2018-04-05T17:31:00.123456789Z"},
    "lower case": {"time": "2018-04-05t17:31:00z"},
    "an offset": {"time": "2018-04-05T17:31:00+02:00"},
    "a leap second": {"time": "1990-12-31T23:59:60Z"},
    "letters": {"subject": "日本/Küche.png", "label": "Gänseblümchen"},
    "percent and space": {"subject": "a b/100%.png", "label": 'red "rose"'},
    "trace as an extension": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    "integers": {"sampledrate": "2147483647", "sequence": "-2147483648"},
}
"""Attributes beyond the suite's, of which earlier versions changed or refused some."""
PREFIX = "as.sent."
"""Beginning of the types of events that a subscriber answers with."""


@dataclass
class Seen:
    """What a subscriber got, with the bytes of header values."""

    headers: list[tuple[str, bytes]]
    body: bytes

    def attributes(self) -> Counter[tuple[str, bytes]]:
        """Names in lower case and values of what is an attribute: how often each came."""
        kept = [(name.lower(), value) for name, value in self.headers]
        return Counter((name, value) for name, value in kept if name.startswith("ce-") or name == "content-type")

    def id(self) -> bytes:
        return next(value for name, value in self.headers if name.lower() == "ce-id")


@dataclass
class Subscriber:
    """A bare HTTP server; it answers events of the suite with the same event under another type when asked to."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    replies: str = ""
    """Content mode of its replies; empty: it replies nothing."""

    def find(self, id_: str) -> list[Seen]:
        return [one for one in list(self.seen) if one.id() == id_.encode()]

    def answer(self, seen: Seen) -> tuple[dict[str, bytes], bytes]:
        if not self.replies:
            return {}, b""
        headers = {name.lower(): value for name, value in seen.attributes()}
        headers["ce-type"] = PREFIX.encode() + headers["ce-type"]
        if self.replies == "binary":
            return headers, seen.body
        fields = {name.removeprefix("ce-"): unquote(value.decode()) for name, value in headers.items()}
        fields["datacontenttype"] = fields.pop("content-type")
        document = {**fields, "data": json.loads(seen.body)}
        return {"content-type": b"application/cloudevents+json"}, json.dumps(document).encode()


@contextmanager
def subscribing() -> Iterator[Subscriber]:
    """A subscriber on loopback."""
    subscriber = Subscriber()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen = Seen([(name, value.encode("latin-1")) for name, value in self.headers.items()], body)
            headers, content = subscriber.answer(seen)
            subscriber.seen.append(seen)
            self.send_response(200 if content else 202)
            for name, value in {**headers, "content-length": str(len(content)).encode()}.items():
                self.send_header(name, value.decode("latin-1"))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        subscriber.url = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            yield subscriber
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Platform:
    """A running local platform: events of the suite go to `first`, and what it answers with to `second`."""

    address: str
    first: Subscriber
    second: Subscriber


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour model."""
    return write_graph_artifact(tmp_path_factory.mktemp("graph") / "artifact").path


@pytest.fixture(scope="module")
def platform(artifact: Path) -> Iterator[Platform]:
    """A real `eaves up`."""
    with subscribing() as first, subscribing() as second, open_local_harness() as harness:
        opened = open_artifact(artifact)
        function = LocalFunction(
            name="colours", site="test", artifact=opened.path, artifact_digest=opened.digest, concurrency=1
        )
        triggers = (
            TriggerSpec(name="first", filters=({"prefix": {"type": "google."}},), url=first.url, delivery=QUICK),
            TriggerSpec(name="second", filters=({"prefix": {"type": PREFIX}},), url=second.url, delivery=QUICK),
        )
        harness.deploy(LocalApp(function=function, triggers=triggers))
        yield Platform(harness.broker_address(), first, second)


def build_attributes(number: int, mode: str, **changes: str) -> tuple[dict[str, str], bytes]:
    """The attributes and the data of one of the suite's events."""
    type_, source, subject, data = SHAPES[number]
    attributes = {
        "specversion": "1.0",
        "id": f"aaaaaa-1111-bbbb-2222-{number:03d}-{mode}-{crc32(repr(changes).encode()):08x}",
        "type": type_,
        "source": source,
        "time": "2020-09-29T11:32:00.123Z",
        **({"subject": subject} if subject else {}),
        **changes,
    }
    return attributes, json.dumps(data, ensure_ascii=False, indent=1).encode()


def encode_value(value: str) -> bytes:
    """A header's value. Source: CloudEvents HTTP protocol binding, section 3.1.3.2."""
    return quote(value, safe="".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')).encode()


def encode(attributes: Mapping[str, str], content_type: str) -> dict[str, bytes]:
    """The headers of an event in binary mode."""
    return {
        **{f"ce-{name}": encode_value(value) for name, value in attributes.items()},
        "content-type": content_type.encode(),
    }


def post(address: str, headers: Mapping[str, bytes], body: bytes) -> tuple[int, list[tuple[str, bytes]], bytes]:
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", "/", body, dict(headers))
        answer = connection.getresponse()
        answered = [(name, value.encode("latin-1")) for name, value in answer.getheaders()]
        return answer.status, answered, answer.read()
    finally:
        connection.close()


def send(
    address: str, mode: str, attributes: dict[str, str], content_type: str, body: bytes, **more: bytes
) -> tuple[int, list[tuple[str, bytes]], bytes]:
    """Send an event in binary or structured mode, its data as JSON."""
    if mode == "binary":
        return post(address, {**encode(attributes, content_type), **more}, body)
    document = {**attributes, "datacontenttype": content_type, "data": json.loads(body)}
    structured = {"content-type": b"application/cloudevents+json; charset=UTF-8", **more}
    return post(address, structured, json.dumps(document, ensure_ascii=False).encode())


CASES = [
    pytest.param(number, mode, {}, id=f"{number}-{mode}")
    for number in range(len(SHAPES))
    for mode in ("binary", "structured")
]
CASES += [
    pytest.param(0, mode, changes, id=f"{name}-{mode}")
    for name, changes in ODD.items()
    for mode in ("binary", "structured")
]


@pytest.mark.parametrize(("number", "mode", "changes"), CASES)
def test_an_event_leaves_the_broker_as_it_came(
    platform: Platform, number: int, mode: str, changes: dict[str, str]
) -> None:
    attributes, body = build_attributes(number, mode, **changes)
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    status, _, answer = send(platform.address, mode, attributes, "application/json", body, traceparent=trace)
    assert status == 202, answer
    (seen,) = wait_until(lambda: platform.first.find(attributes["id"]), 20, what="the event")
    assert seen.attributes() == Counter(encode(attributes, "application/json").items())
    assert dict(seen.headers).get("traceparent", b"") == trace, "the trace is a header, as it came"
    if mode == "binary":
        assert seen.body == body
    else:
        assert json.loads(seen.body) == json.loads(body)


@pytest.mark.parametrize(("number", "mode", "changes"), CASES)
def test_a_reply_is_delivered_as_its_subscriber_wrote_it(
    platform: Platform, number: int, mode: str, changes: dict[str, str]
) -> None:
    """What a subscriber answers with goes back into the broker and on to the next subscriber."""
    attributes, body = build_attributes(number, mode, **changes)
    attributes["id"] = f"reply-{attributes['id']}"
    platform.first.replies = mode
    try:
        assert send(platform.address, "binary", attributes, "application/json", body)[0] == 202
        (seen,) = wait_until(lambda: platform.second.find(attributes["id"]), 20, what="the reply")
    finally:
        platform.first.replies = ""
    expected = {**attributes, "type": PREFIX + attributes["type"]}
    assert seen.attributes() == Counter(encode(expected, "application/json").items())
    assert json.loads(seen.body) == json.loads(body)


def test_what_was_delivered_is_in_the_metrics(platform: Platform) -> None:
    """Labels are escaped as the text format requires, so that Prometheus' own parser reads them."""
    attributes, body = build_attributes(0, "metrics")
    assert send(platform.address, "binary", attributes, "application/json", body)[0] == 202

    def count_delivered() -> float:
        connection = HTTPConnection(platform.address, timeout=30)
        try:
            connection.request("GET", "/metrics")
            families = list(text_string_to_metric_families(connection.getresponse().read().decode()))
        finally:
            connection.close()
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "eaves_deliveries_total"
            and sample.labels.get("outcome") == "delivered"
            and sample.labels.get("lane") == "trigger/colours/first"
        )

    wait_until(count_delivered, 20, what="a delivery in the metrics")
