"""The sockets of a function: slow senders, many connections, probes beside work, leaving."""

import json
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.processes.function import MAX_BODY, Function, raw_request, read_answer, serving
from tests.waiting import wait_until

RED = encode_png(COLOURS["red"])
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """A function that predicts while its gate is open."""

    function: Function
    gate: Path

    def post(self, body: bytes = RED) -> int:
        return self.function.request("POST", "/", body, Content_Type="image/png")[0]

    def readiness(self) -> tuple[int, str]:
        status, _, body = self.function.request("GET", "/health/readiness")
        return status, json.loads(body).get("type", "")


StartGated = Callable[..., Gated]


@contextmanager
def open_gates(folder: Path) -> Iterator[StartGated]:
    """What starts functions, which end with the block."""
    artifact = write_colours(folder / "artifact").path
    with ExitStack() as stack:

        def run(*, opened: bool = True, **environ: str) -> Gated:
            gate = folder / "gate"
            if opened:
                gate.touch()
            made = serving(artifact, folder, module="tests.fakes.models.function", GATE=str(gate), **environ)
            return Gated(function=stack.enter_context(made), gate=gate)

        yield run


@pytest.fixture
def start_gated(tmp_path: Path) -> Iterator[StartGated]:
    with open_gates(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """An open one, for all tests that only talk to it."""
    with open_gates(tmp_path_factory.mktemp("gated")) as start:
        yield start()


def test_what_is_refused_before_the_application_is_counted_and_reported_in_its_protocol(
    start_gated: StartGated,
):
    gated = start_gated()
    status, _, body = gated.function.request("POST", "/v2/models/digits/infer", bytes(MAX_BODY + 1))
    assert (status, json.loads(body)["type"]) == (413, "urn:eaves:problem:http-413")
    assert json.loads(body)["error"]
    _, _, metrics = gated.function.request("GET", "/metrics")
    assert b'eaves_requests_total{kind="refused",status="413",problem="http-413"} 1' in metrics


def test_a_body_that_ends_early_is_neither_predicted_nor_answered(start_gated: StartGated):
    """No answer makes every sender send the event again."""
    gated = start_gated()
    for part in (
        b"Content-Length: %d\r\n\r\n" % len(RED) + RED[:-1],
        b"Transfer-Encoding: chunked\r\n\r\n32\r\n" + RED[:20],
    ):
        with gated.function.connect() as sender:
            sender.sendall(HEAD + part)
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(1) == b""
    _, _, metrics = gated.function.request("GET", "/metrics")
    assert b"eaves_predictions_total{" not in metrics
    assert b'kind="predict"' not in metrics


def has_answer(sender: socket.socket, timeout_s: float = 0.0) -> bool:
    return bool(select.select([sender], [], [], timeout_s)[0])


def test_a_sender_that_reads_no_answers_holds_no_thread(gated: Gated):
    with gated.function.connect() as sender:
        sender.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sender.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000_000)
        assert gated.post() == 200


def test_hundreds_of_silent_connections_lock_no_probe_out(gated: Gated):
    with ExitStack() as stack:
        for number in range(400):
            sender = stack.enter_context(gated.function.connect())
            sender.sendall(HEAD if number % 2 else b"")
        assert gated.readiness() == (200, "")
        assert gated.post() == 200


def test_a_body_that_is_not_wanted_is_not_asked_for(gated: Gated):
    for length, status in ((MAX_BODY + 1, 413), (0, 422)):
        with gated.function.connect() as sender:
            sender.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length)
            assert sender.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 %d" % status
            assert read_answer(sender)[0].status == status


def test_probes_are_answered_while_every_place_is_taken(start_gated: StartGated):
    gated = start_gated(opened=False, EAVES_QUEUE="2")
    with ExitStack() as stack:
        senders = [stack.enter_context(gated.function.connect()) for _ in range(20)]
        for sender in senders:
            sender.sendall(raw_request(RED))
        wait_until(lambda: sum(map(has_answer, senders)) == 17, what="the refusals")
        assert gated.readiness() == (200, "")
        assert gated.function.request("GET", "/health/liveness")[0] == 200
        gated.gate.touch()
        answers = [read_answer(sender)[0] for sender in senders]
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 17
    assert {answer.headers["Retry-After"] for answer in answers if answer.status == 429} == {"1"}
    assert "Task queue depth" not in gated.function.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_ends_it_says_so_and_finishes_what_it_has(start_gated: StartGated, number: signal.Signals):
    gated = start_gated(opened=False)
    with gated.function.connect() as sender, gated.function.connect() as kept:
        kept.sendall(b"GET /health/readiness HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(kept)[0].status == 200
        sender.sendall(raw_request(RED))
        gated.function.process.send_signal(number)
        wait_until(lambda: gated.readiness() == (503, "urn:eaves:problem:stopped"), what="the end of readiness")
        gated.function.process.send_signal(number)
        kept.sendall(raw_request(RED))
        assert gated.function.process.poll() is None
        gated.gate.touch()
        answers: list[HTTPResponse] = [read_answer(one)[0] for one in (sender, kept)]
    assert [answer.status for answer in answers] == [200, 200]
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    assert gated.function.process.wait(15) == 0, gated.function.log
    assert "Traceback" not in gated.function.log


def test_a_small_response_arrives_in_one_piece(gated: Gated):
    with socket.create_connection(("127.0.0.1", wait_until(gated.function.port, 30)), timeout=20) as sender:
        for _ in range(50):
            sender.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(RED) + RED)
            header, _, body = sender.recv(65_536).partition(b"\r\n\r\n")
            (length,) = (line for line in header.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            assert len(body) == int(length.partition(b":")[2])
