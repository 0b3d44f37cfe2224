"""A function as a platform starts it: a process of its own, spoken to over sockets, stopped by SIGTERM."""

import json
import shutil
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eaves.artifact import open_artifact
from eaves.artifact.store import HANDLER
from eaves.events import Event, decode, encode_binary, encode_structured, reply_id
from tests.fakes.models.graph import write_graph_artifact
from tests.ports import find_port
from tests.processes.function import Function, Start, raw_request, read_answer
from tests.waiting import wait_until


def test_a_plain_image_gets_plain_json(shared_function: Function, image: bytes, tiny_artifact: Path):
    status, headers, body = shared_function.request("POST", "/", image, Content_Type="image/png")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    document = json.loads(body)
    assert document["artifact"] == f"sha256:{open_artifact(tiny_artifact).digest}"
    assert sorted(entry["label"] for entry in document["predictions"]) == ["0", "1", "2", "3"]


def test_requests_that_overlap_open_a_second_session_that_predicts_the_same(
    start: Start, image: bytes, tiny_artifact: Path
):
    function = start(EAVES_THREADS="2", EAVES_CONCURRENCY="64", EAVES_QUEUE="64")

    def predict(_: object = None) -> Any:
        status, _, body = function.request("POST", "/", image, Content_Type="image/png")
        assert status == 200
        return {one["label"]: one["score"] for one in json.loads(body)["predictions"]}

    def sessions() -> str:
        lines = function.request("GET", "/metrics")[2].decode().splitlines()
        assert "eaves_threads 2" in lines
        return next(line for line in lines if line.startswith("eaves_sessions "))

    def overlap_until_open() -> bool:
        answers = list(pool.map(predict, range(64)))
        assert all(answer == pytest.approx(alone, abs=1e-4) for answer in answers)
        return sessions() == "eaves_sessions 2"

    function.wait_ready()
    alone = predict()
    assert predict() == alone
    assert sessions() == "eaves_sessions 1"
    with ThreadPoolExecutor(32) as pool:
        wait_until(overlap_until_open)
    wait_until(lambda: "predictions overlap" in function.log)  # written after the session is counted


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_an_event_gets_an_event(
    shared_function: Function,
    image: bytes,
    tiny_artifact: Path,
    encode: Callable[[Event], tuple[dict[str, str], bytes]],
):
    cause = Event(
        id="1",
        source="/eaves/barn/camera",
        type="dev.eaves.image.captured.v1",
        subject="Tür 100%/1.png",
        time="2026-11-24T12:00:00Z",
        datacontenttype="image/png",
        data=image,
        extensions={"partitionkey": "camera"},
    )
    headers, body = encode(cause)
    status, answered, content = shared_function.request("POST", "/", body, **headers)
    assert status == 200
    reply = decode(answered, content)
    assert reply.id == reply_id(cause, open_artifact(tiny_artifact).digest)
    assert (reply.source, reply.subject, reply.time) == ("/eaves/barn/digits", cause.subject, cause.time)
    assert reply.extensions["causeid"] == "1"
    assert reply.extensions["label"] == reply.json()["predictions"][0]["label"]


def test_everything_sent_before_sigterm_is_answered(start: Start, image: bytes):
    """The process is held still meanwhile, so that it finds connections not accepted and requests not read."""
    function = start()
    function.wait_ready()
    idle, *senders = [function.connect() for _ in range(5)]  # kept alive; of the idle one nothing more comes
    for sender in (idle, *senders):
        sender.sendall(raw_request(image))
        assert read_answer(sender)[0].status == 200
    function.process.send_signal(signal.SIGSTOP)
    senders += [function.connect() for _ in range(4)]
    for sender in senders:
        sender.sendall(raw_request(image))
    function.process.send_signal(signal.SIGTERM)
    function.process.send_signal(signal.SIGCONT)
    for sender in senders:
        assert read_answer(sender)[0].status == 200
        sender.close()
    assert function.process.wait(15) == 0, function.log
    idle.close()


def test_a_request_half_sent_at_sigterm_is_answered_and_its_connection_closed(start: Start, image: bytes):
    function = start()
    function.wait_ready()
    whole = raw_request(image)
    with function.connect() as sender:
        sender.sendall(whole[:-20])
        function.process.send_signal(signal.SIGTERM)
        wait_until(function.refuses, what="the end of listening")
        sender.sendall(whole[-20:])
        response, document = read_answer(sender)
        assert response.status == 200
        assert response.headers["Connection"] == "close"
        assert document["predictions"]
    assert function.process.wait(15) == 0, function.log


def test_a_sender_that_has_stalled_does_not_hold_the_process(start: Start, image: bytes):
    function = start()
    function.wait_ready()
    with function.connect() as sender:
        sender.sendall(raw_request(image)[:-20])
        assert function.stop() == 0


def test_timing_tells_where_the_start_went(start: Start, image: bytes):
    function = start(EAVES_TIMING="true")
    assert function.request("POST", "/", image, Content_Type="image/png")[0] == 200
    (reported,) = (record for record in map(json.loads, function.log.splitlines()) if "start_ms" in record)
    stages = reported["start_ms"]
    assert set(stages) > {
        "interpreter",
        "import numpy",
        "import eaves.inference.onnxruntime",
        "open session",
        "golden check",
    }
    assert list(stages)[-1] == "first prediction" in reported["message"]


def test_sigterm_while_loading_is_no_failure(start: Start):
    function = start()
    wait_until(function.port, 30)
    assert function.stop() == 0


OPEN_SESSIONS = """
import os, onnxruntime

while True:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    onnxruntime.InferenceSession(os.environ["EAVES_ARTIFACT"] + "/model.onnx", options)
"""


@pytest.fixture
def busy_artifact(tmp_path: Path) -> Path:
    """An artifact whose model's thread stays in native code, which must not abort a process that ends."""
    source = lambda staging: (staging / HANDLER).write_text(OPEN_SESSIONS)  # noqa: E731
    return write_graph_artifact(tmp_path / "busy", change=source).path


def test_sigterm_while_onnxruntime_works_is_no_failure(start: Start, busy_artifact: Path):
    function = start(artifact=busy_artifact)
    wait_until(function.port, 30)
    assert function.stop() == 0, function.log


def test_a_request_that_is_sent_while_the_process_starts_is_answered_before_it_ends(start: Start, image: bytes):
    port = find_port()
    function = start(PORT=str(port))
    sender = wait_until(lambda: connect(port), 30)
    assert sender is not None
    with sender:
        sender.sendall(raw_request(image))
        function.process.send_signal(signal.SIGTERM)
        assert read_answer(sender)[0].status == 200, function.log
    assert function.process.wait(15) == 0, function.log


def connect(port: int) -> socket.socket | None:
    with suppress(ConnectionError):
        return socket.create_connection(("127.0.0.1", port), timeout=30)
    return None


def copy_artifact(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "position", "reason"),
    [("golden/000.png", 60, "golden image golden/000.png"), ("weights/backbone.bin", 3, "logits")],
)
def test_an_artifact_that_does_not_reproduce_its_goldens_is_never_ready_and_says_why(
    start: Start, tiny_artifact: Path, tmp_path: Path, image: bytes, name: str, position: int, reason: str
):
    artifact = copy_artifact(tiny_artifact, tmp_path / "damaged")
    flip(artifact / name, position)
    function = start(artifact=artifact)

    def failure() -> Any:
        status, _, body = function.request("GET", "/health/readiness")
        assert status == 503
        document = json.loads(body)
        return document if document["type"] != "urn:eaves:problem:loading" else None

    document = wait_until(failure, 30)
    assert document["type"] == "urn:eaves:problem:golden"
    assert reason in document["detail"]
    assert function.request("POST", "/", image, Content_Type="image/png")[0] == 503
    assert function.request("GET", "/health/liveness")[0] == 200
    assert "never ready" in function.log
    assert function.stop() == 0


def test_sigterm_before_it_listens_ends_it_at_once(start: Start):
    """The process ends by its own handler: as process 1 of a container it would not be ended by the signal itself."""
    function = start()
    status = Path(f"/proc/{function.process.pid}/status")
    caught = lambda: int(status.read_text().partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1  # noqa: E731
    wait_until(caught, 30, what="a handler of SIGTERM")
    assert function.stop() == 0
