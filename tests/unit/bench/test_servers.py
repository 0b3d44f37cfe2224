"""Servers that fail are named with the reason; a section without Eaves is not made."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from bench.function import many_connections, one_at_a_time
from bench.function.process import Start
from bench.measure.load import build_request
from bench.report.section import UnavailableError
from bench.servers.catalogue import Server, as_jpeg
from bench.servers.comparison import BARE, Answers, build_section, find_fate
from bench.servers.running import Running, require_ours
from tests.ports import find_port


def test_a_function_that_fails_is_the_reason_of_its_part() -> None:
    require_ours({"KServe": "it does not start"})
    with pytest.raises(UnavailableError, match="Eaves, int8: it does not start: the process ended with 70"):
        require_ours({"KServe": "no", "Eaves, int8": "it does not start: the process ended with 70"})


def start(wall_ms: float) -> Start:
    return Start(wall_ms=wall_ms, cpu_ms=1, resident_mb=1, proportional_mb=1, read_mb=0)


def test_each_value_of_eaves_that_loses_to_another_server_is_bold() -> None:
    starts = {BARE: [start(100)], "Eaves, fp32": [start(90)], "KServe": [start(300)]}
    answers = {
        "Eaves, fp32": Answers(large_ms=120.0, truncated="422"),
        "KServe": Answers(large_ms=110.0, truncated="500"),
    }
    rows = {row[0]: row for row in build_section(starts, answers, {}).tables[0].rows}
    assert rows["Eaves, fp32"] == ("Eaves, fp32", "90", "1", "1", "0.90", "**120**", "422")
    assert rows["KServe"][5] == "110"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_does_not_answer_has_a_note(silent: int) -> None:
    assert find_fate(silent, as_jpeg(b"half"), timeout_s=0.05) == "no answer"
    assert find_fate(find_port(), as_jpeg(b"half")) == "connection closed"


def test_a_server_that_closes_has_a_note() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            server.accept()[0].close()

        closing = threading.Thread(target=close)
        closing.start()
        assert find_fate(server.getsockname()[1], as_jpeg(b"half")) == "connection closed"
        closing.join()


def test_a_server_that_fails_in_its_turn_is_left_out_with_the_reason() -> None:
    server = Server(name="KServe", threads="all", command=(), environ={}, encode=as_jpeg)
    request = build_request(b"image", path="/", content_type="image/jpeg")
    gone = Running(server=server, pid=os.getpid(), port=find_port(), request=request)
    alone = one_at_a_time.take_turns({}, [gone], 2)
    assert alone.servers == {}
    assert alone.failed["KServe"].startswith("it failed in round 1: ")
    _, servers, failed = many_connections.take_turns({}, [gone], 2, 0.1)
    assert servers == {}
    assert failed["KServe"].startswith("it failed in round 1: ")
