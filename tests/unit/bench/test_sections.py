"""Every section exists, and what it measured becomes figures with bars and tables; losing values are bold."""

from __future__ import annotations

import importlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from bench.__main__ import SECTIONS
from bench.cold_start import ColdStart
from bench.function import container, many_connections, one_at_a_time
from bench.function.start import BARE
from bench.knative import build_section as build_knative
from bench.knative import measure as measure_knative
from bench.material import Setup
from bench.measure import Load, build_request, take_turns
from bench.processes import Start
from bench.report import Section, UnavailableError
from bench.servers.catalogue import Server, as_jpeg
from bench.servers.comparison import Answers, build_section, find_fate
from bench.servers.running import Running, require_ours
from tests.ports import find_port


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_can_be_loaded(name: str) -> None:
    module, _, function = SECTIONS[name].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def values(section: Section) -> list[tuple[str, str]]:
    return [(figure.name, figure.render_value()) for figure in section.figures]


def start(wall_ms: float) -> Start:
    return Start(wall_ms=wall_ms, cpu_ms=1, rss_mb=1, pss_mb=1)


def turn(*latencies_ms: float, per_second: float = 0.0) -> Load:
    return Load(latencies_ms=latencies_ms, per_second=per_second)


def test_one_image_is_compared_with_the_best_floor_and_the_fastest_server() -> None:
    found = {
        "Eaves, fp32": [turn(0, 12, 12), turn(0, 12, 12)],
        "Eaves, int8": [turn(0, 7, 7)],
        "KServe": [turn(0, 10, 10), turn(0, 10, 10)],
        "floor, fp32, 1 threads": [turn(0, 20, 20)],
        "floor, fp32, 2 threads": [turn(0, 11.5, 11.5)],
        "floor, int8, 1 threads": [turn(0, 7.5, 7.5)],
    }
    section = one_at_a_time.build_section(found, {}, {"func-python": "not installed"})
    assert [value for _, value in values(section)] == ["0.50 ms", "-0.50 ms", "**1.20**"]
    rows = {row[0]: row for row in section.tables[0].rows}
    assert rows["Eaves, fp32"][1] == "**12.0**"
    assert "floor, fp32, 1 threads" not in rows
    assert rows["func-python"][-1] == "not installed"


def test_eight_connections_are_compared_with_the_best_loop() -> None:
    found = {
        "Eaves, fp32": [turn(1, 2, per_second=95)],
        "Eaves, int8": [turn(1, 2, per_second=200)],
        "KServe": [turn(1, 2, per_second=96)],
        "loop, fp32, 2 callers, 1 threads each": [turn(1, 2, per_second=100)],
        "loop, fp32, 1 callers, 2 threads each": [turn(1, 2, per_second=90)],
        "loop, int8, 2 callers, 1 threads each": [turn(1, 2, per_second=200)],
    }
    section = many_connections.build_section(found, {})
    assert [value for _, value in values(section)] == ["**0.95**", "1.00"]
    assert section.tables[0].rows[0][:3] == ("Eaves, fp32", "**95.0**", "0.95")


def test_a_start_in_the_container_is_compared_with_the_script_and_the_other_model() -> None:
    found = {
        (f"{model}, fp32", cache, kind): [start(wall_ms * (2 if cache == container.DROPPED else 1))]
        for model, kind, wall_ms in (
            ("small", container.BARE, 400.0), ("small", container.FUNCTION, 300.0),
            ("large", container.BARE, 600.0), ("large", container.FUNCTION, 400.0),
        )
        for cache in (container.WARM, container.DROPPED)
    }  # fmt: skip
    assert values(container.build_section(found)) == [
        ("small, fp32, start of large's", "**0.75**"),
        ("small, fp32, page cache warm, start of bare", "0.75"),
        ("small, fp32, page cache dropped, start of bare", "0.75"),
        ("large, fp32, page cache warm, start of bare", "0.67"),
        ("large, fp32, page cache dropped, start of bare", "0.67"),
    ]


def test_a_cold_start_through_knative_is_compared_with_the_trivial_server() -> None:
    def build_start(total_ms: float) -> ColdStart:
        return ColdStart(phases_ms={"launch": 100.0, "golden": 200.0}, total_ms=total_ms, warm_ms=9.0)

    section = build_knative({"int8": [build_start(970.0)] * 3, "floor": [build_start(700.0)] * 3})
    assert values(section) == [("int8, above the trivial server", "**0.27 s**")]
    assert section.tables[0].rows[-2:] == (("total", "970", "700"), ("warm", "9", "9"))
    assert build_knative({"int8": [build_start(970.0)]}).figures == ()
    with pytest.raises(UnavailableError, match="KUBECONFIG"):
        measure_knative(Setup(environ={}))


def test_each_value_of_eaves_that_loses_to_another_server_is_bold() -> None:
    starts = {BARE: [start(100)], "Eaves, fp32": [start(90)], "KServe": [start(300)]}
    answers = {
        "Eaves, fp32": Answers(large_ms=120.0, truncated="422"),
        "KServe": Answers(large_ms=110.0, truncated="500"),
    }
    rows = {row[0]: row for row in build_section(starts, answers, {}).tables[0].rows}
    assert rows["Eaves, fp32"] == ("Eaves, fp32", "90", "1", "1", "**120**", "0.90", "422")
    assert rows["KServe"][4] == "110"


def test_a_function_that_fails_is_the_reason_of_its_section() -> None:
    require_ours({"KServe": "it does not start"})
    with pytest.raises(UnavailableError, match="Eaves, int8: it does not start: the process ended with 70"):
        require_ours({"KServe": "no", "Eaves, int8": "it does not start: the process ended with 70"})


def test_a_server_that_fails_in_its_turn_is_left_out_with_the_reason() -> None:
    server = Server(name="KServe", threads="all", command=(), environ={}, encode=as_jpeg)
    gone = Running(server=server, pid=os.getpid(), port=find_port(), request=build_request(b"image"))
    found, failed = take_turns({"KServe": lambda: gone.send(6), "Eaves": lambda: turn(1.0)}, 2)
    assert list(found) == ["Eaves"]
    assert len(found["Eaves"]) == 2
    assert failed["KServe"].startswith("it failed in round 1: ")


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
