"""Attributes arrive as they were sent, byte for byte: through the local broker, and as a reply.

The events have the shapes of those of GoogleCloudPlatform/functions-framework-conformance (events/generate/data), each
in both content modes.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from zlib import crc32

import pytest

from eaves.artifact import open_artifact
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import TriggerSpec
from tests.contract.harness import QUICK, open_local_harness
from tests.fakes.http.server import Asked, FakeServer, open_server, respond
from tests.fakes.models.graph import write_graph_artifact
from tests.waiting import wait_until

DATABASE = "//firebasedatabase.googleapis.com/projects/_/locations/europe-west1/instances/my-project-id"
TOPIC = "//pubsub.googleapis.com/projects/sample-project/topics/gcf-test"
WRITTEN = "google.firebase.database.ref.v1.written"
SHAPES: list[tuple[str, str, str, Any]] = [
    ("google.firebase.auth.user.v1.created", "//firebaseauth.googleapis.com/projects/my-project-id", "users/UUpby", {}),
    (WRITTEN, DATABASE, "refs/gcf-test/xyz", {"delta": [None, 1.5, "Grüße", {"d": [True]}]}),
    ("google.cloud.pubsub.topic.v1.messagePublished", TOPIC, "", {"message": {"data": "AQID"}}),
]
"""Type, source, subject (empty: none) and data."""
ODD: list[dict[str, str]] = [
    {"time": "2018-04-05T17:31:00.123456789Z"},
    {"time": "2018-04-05t17:31:00+02:00"},
    {"time": "1990-12-31T23:59:60Z"},
    {"subject": "日本/Küche 100%.png", "label": 'rote "Gänseblümchen"', "sequence": "-2147483648"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
]
"""Attributes beyond the suite's, of which earlier versions changed or refused some."""
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PREFIX = "as.sent."
"""Beginning of the types of events that a subscriber answers with."""


def attributes_of(asked: Asked) -> Counter[tuple[str, bytes]]:
    """Names in lower case and bytes of what is an attribute: how often each came."""
    kept = [(name.lower(), value.encode("latin-1")) for name, value in asked.fields]
    return Counter((name, value) for name, value in kept if name.startswith("ce-") or name == "content-type")


def find(server: FakeServer, id_: str) -> list[Asked]:
    return [asked for asked in list(server.asked) if asked.headers["ce-id"] == id_]


def reply_in(mode: str, asked: Asked) -> bytes:
    """The same event under another type."""
    headers = {name: value.decode("latin-1") for name, value in attributes_of(asked)}
    headers["ce-type"] = PREFIX + headers["ce-type"]
    if mode == "binary":
        return respond(200, asked.body, *headers.items())
    fields = {name.removeprefix("ce-"): unquote(value) for name, value in headers.items()}
    fields["datacontenttype"] = fields.pop("content-type")
    document = {**fields, "data": json.loads(asked.body)}
    return respond(200, json.dumps(document).encode(), Content_Type="application/cloudevents+json")


@dataclass(frozen=True)
class Platform:
    """A running local platform: events of the suite go to `first`, and what it answers with to `second`."""

    address: str
    first: FakeServer
    second: FakeServer


def accept(_: Asked) -> bytes:
    return respond(202)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour model."""
    return write_graph_artifact(tmp_path_factory.mktemp("graph") / "artifact").path


@pytest.fixture(scope="module")
def platform(artifact: Path) -> Iterator[Platform]:
    """A real `eaves up`."""
    with open_server(accept) as first, open_server(accept) as second, open_local_harness() as harness:
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


def encode(attributes: Mapping[str, str]) -> dict[str, bytes]:
    """The headers of an event in binary mode."""
    return {
        **{f"ce-{name}": encode_value(value) for name, value in attributes.items()},
        "content-type": b"application/json",
    }


def send(address: str, mode: str, attributes: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """Send an event in binary or structured mode, its data as JSON; status and body of the answer."""
    headers = encode(attributes)
    if mode == "structured":
        document = {**attributes, "datacontenttype": "application/json", "data": json.loads(body)}
        headers = {"content-type": b"application/cloudevents+json; charset=UTF-8"}
        body = json.dumps(document, ensure_ascii=False).encode()
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", "/", body, {**headers, "traceparent": TRACE})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


CASES = [*((number, {}) for number in range(len(SHAPES))), *((0, changes) for changes in ODD)]


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_an_event_and_the_reply_to_it_are_delivered_as_they_were_written(platform: Platform, mode: str):
    """What a subscriber answers with goes back into the broker and on to the next subscriber."""
    platform.first.answer = lambda asked: reply_in(mode, asked)
    for number, changes in CASES:
        attributes, body = build_attributes(number, mode, **changes)
        status, answer = send(platform.address, mode, attributes, body)
        assert status == 202, answer
        (seen,) = wait_until(partial(find, platform.first, attributes["id"]), 20, what="the event")
        (reply,) = wait_until(partial(find, platform.second, attributes["id"]), 20, what="the reply")
        assert attributes_of(seen) == Counter(encode(attributes).items())
        assert seen.headers.get("traceparent", "").encode() == TRACE, "the trace is a header, as it came"
        assert attributes_of(reply) == Counter(encode({**attributes, "type": PREFIX + attributes["type"]}).items())
        assert json.loads(seen.body) == json.loads(reply.body) == json.loads(body)
        assert mode == "structured" or seen.body == body
