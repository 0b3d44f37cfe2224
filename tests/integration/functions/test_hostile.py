"""What no sender should send, against a real process: each is refused for good, at once, in little memory."""

import base64
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from eaves.problem_document import MAX_BYTES
from tests.inputs import hostile
from tests.proc import cpu_s, memory_bytes
from tests.processes.function import Function

MAX_SECONDS, MAX_MEMORY = 0.5, 64e6
ATTEMPTS = 3
"""Another process may have had the CPU in between: the best of so many counts."""
BODY_LIMIT = 20_000_000

EVENT = {
    "Content-Type": "image/png",
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/eaves/barn/camera",
    "ce-type": "dev.eaves.image.captured.v1",
}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
FIELDS = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "datacontenttype": "image/png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    cpu_s: float
    memory: float  # bytes more than before, at the most


class Target(Function):
    """A function whose time and memory are watched."""

    def send(self, message: bytes) -> Answer:
        """Send bytes over a socket of their own, and read one answer."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # the peak starts anew; see proc_pid_clear_refs(5)
        resting, cpu, start = memory_bytes(self.process.pid), cpu_s(self.process.pid), time.perf_counter()
        with self.connect() as sender:
            try:
                sender.sendall(message)
                sender.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has answered and closed before everything was sent
            response = HTTPResponse(sender)
            response.begin()
            body = response.read()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=body,
            seconds=time.perf_counter() - start,
            cpu_s=cpu_s(self.process.pid) - cpu,
            memory=memory_bytes(self.process.pid, "VmHWM") - resting,
        )

    def send_patiently(self, message: bytes) -> Answer:
        answers = []
        for _ in range(ATTEMPTS):
            answers.append(self.send(message))
            if answers[-1].seconds <= MAX_SECONDS and answers[-1].memory <= MAX_MEMORY:
                break
        return min(answers, key=lambda answer: (answer.seconds > MAX_SECONDS, answer.memory))


@pytest.fixture(scope="module")
def target(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    function = Target(
        tiny_artifact,
        tmp_path_factory.mktemp("hostile"),
        EAVES_CONCURRENCY="2",
        EAVES_MAX_BODY_BYTES=str(BODY_LIMIT),
    )
    try:
        function.wait_ready()
        for kind in hostile.KINDS:  # what is loaded once is at rest
            assert function.send(request(hostile.good(kind), {"Content-Type": f"image/{kind.lower()}"})).status == 200
        yield function
    finally:
        function.process.kill()
        function.process.wait()
    assert "Traceback" not in function.log
    assert all(json.loads(line) for line in function.log.splitlines())  # nothing but log lines


def request(
    body: bytes = b"", headers: dict[str, str] | None = None, *, method: str = "POST", path: str = "/"
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def raw(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


def event(body: bytes | None = None, /, **changes: str) -> bytes:
    """A binary event, changed."""
    headers = {**EVENT, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return request(hostile.good("PNG") if body is None else body, headers)


def structured(body: bytes | None = None, /, **changes: Any) -> bytes:
    """A structured event, changed; or any body that says it is one."""
    picture = base64.b64encode(hostile.good("PNG")).decode()
    fields = {**FIELDS, "data_base64": picture, **changes}
    return request(json.dumps(fields).encode() if body is None else body, STRUCTURED)


def check(target: Target, name: str, message: bytes, status: int, slug: str) -> None:
    answer = target.send_patiently(message)
    assert answer.status == status, (name, answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.body) <= MAX_BYTES
    document = json.loads(answer.body)
    assert document["type"] == f"urn:eaves:problem:{slug}"
    assert document["status"] == status
    assert b"Traceback" not in answer.body
    assert b".py" not in answer.body
    assert not [name for name in answer.headers if name.startswith(("ce-", "x-"))]
    assert answer.memory <= MAX_MEMORY, name
    assert min(answer.seconds, answer.cpu_s) <= MAX_SECONDS, name
    assert target.send(event()).status == 200


@pytest.mark.long("every hostile file")
def test_what_is_no_picture_is_unprocessable(target: Target):
    for name, make in hostile.CORRUPT.items():
        check(target, name, request(make(), {"Content-Type": "image/jpeg"}), 422, "image")


def test_what_claims_too_many_pixels_is_too_large(target: Target):
    for name, make in hostile.TOO_LARGE.items():
        check(target, name, request(make(), {"Content-Type": "image/png"}), 413, "image-too-large")


EVENTS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "no body": (lambda: event(b""), 422, "image"),
    "no id": (lambda: event(ce_id=""), 400, "event"),
    "another version": (lambda: event(ce_specversion="0.3"), 400, "event"),
    "a content type that looks like another": (
        lambda: event(Content_Type="application/image/png"),
        415,
        "unsupported-content",
    ),
    "an id of 100 KB": (lambda: event(ce_id="x" * 100_000), 431, "http-431"),
    "an extension of 50 KB": (lambda: event(ce_partitionkey="x" * 50_000), 400, "event"),
    "3,000 extensions": (lambda: event(**{f"ce_x{number}": "x" for number in range(3_000)}), 400, "event"),
    "percent-encoding that is not UTF-8": (lambda: event(ce_subject="%ff%fe"), 400, "event"),
    "raw bytes that are not UTF-8": (lambda: event(ce_subject="\xff\xfe"), 400, "event"),
    "line breaks to come": (lambda: event(ce_subject="a%0D%0AX-Injected:%201"), 400, "event"),
    "a name with a dash": (lambda: event(ce_content_length="7"), 400, "event"),
    "a time that is none": (lambda: event(ce_time="yesterday"), 400, "event"),
    "structured: an id twice": (lambda: structured(b'{"id": "1", ' + json.dumps(FIELDS).encode()[1:]), 400, "event"),
    "structured: 10 MB of brackets": (lambda: structured(b"[" * 10_000_000), 400, "event"),
    "structured: 5 million empty lists": (lambda: structured(b"[" + b"[]," * 5_000_000 + b"0]"), 400, "event"),
    "structured: a number of a million digits": (
        lambda: structured(b'{"id": ' + b"9" * 1_000_000 + b"}"),
        400,
        "event",
    ),
    "structured: an id with a line break": (lambda: structured(id="1\r\nX-Injected: 1"), 400, "event"),
    "structured: 200,000 extensions": (
        lambda: structured(**{f"x{number}": 1 for number in range(200_000)}),
        400,
        "event",
    ),
    "structured: base64 that is none": (lambda: structured(data_base64="%%%"), 400, "event"),
    "structured: 9 MB that are no picture": (lambda: structured(data_base64="A" * 12_000_000), 422, "image"),
    "a batch": (
        lambda: request(b"[]", {"Content-Type": "application/cloudevents-batch+json"}),
        415,
        "unsupported-content",
    ),
}


PICTURE = {"Content-Type": "image/png"}
HTTP: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "30 MB": (lambda: request(bytes(30_000_000), PICTURE), 413, "http-413"),
    "a length of 5,000 digits": (lambda: raw(b"POST / HTTP/1.1", b"Content-Length: " + b"9" * 5_000), 400, "http-400"),
    "two lengths": (
        lambda: raw(b"POST / HTTP/1.1", b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
        400,
        "http-400",
    ),
    "a length and chunks": (
        lambda: raw(b"POST / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
        "http-400",
    ),
    "chunks without end": (
        lambda: raw(
            b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=(b"10000\r\n" + bytes(65_536) + b"\r\n") * 320
        ),
        413,
        "http-413",
    ),
    "a chunk of no size": (
        lambda: raw(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"zz\r\n"),
        400,
        "http-400",
    ),
    "HTTP/0.9": (lambda: b"GET /\r\n\r\n", 400, "http-400"),
    "TLS": (lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400, "http-400"),
    "a method unheard of": (lambda: request(method="BREW"), 405, "http-405"),
    "another path": (lambda: request(path="/../../etc/passwd"), 404, "http-404"),
    "a query of 300 KB": (lambda: request(path="/?" + "x" * 300_000), 431, "http-431"),
    "a header with a bare line feed": (lambda: raw(b"POST / HTTP/1.1", b"A: x\nB: y"), 400, "http-400"),
    "a form in parts": (
        lambda: request(b"--b\r\n" * 100_000, {"Content-Type": "multipart/form-data; boundary=b"}),
        415,
        "unsupported-content",
    ),
}


@pytest.mark.long("bodies of up to 30 MB")
def test_a_malformed_event_or_request_is_refused(target: Target):
    for name, (make, status, slug) in (EVENTS | HTTP).items():
        check(target, name, make(), status, slug)


def test_the_answers_header_holds_only_what_was_asked(target: Target):
    """Names that look like HTTP's own, and text that means something in a header, stay attributes."""
    answer = target.send(event(ce_contentlength="7", ce_setcookie="a=b", ce_subject="a,%20b;c%22d%25", ce_sequence="x"))
    assert answer.status == 200
    assert answer.headers["ce-subject"] == "a,%20b;c%22d%25"
    assert "set-cookie" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_a_large_valid_frame_takes_what_its_pixels_take(target: Target):
    """A grey PNG of 12 megapixels: 12 MB as it is, 48 MB as RGB."""
    frame = hostile.png(4000, 3000, hostile.png_chunk(b"IDAT", zlib.compress(bytes(3000 * 4001))), colour=0)
    answer = target.send(request(frame, PICTURE))
    assert answer.status == 200
    assert answer.memory <= 80e6
