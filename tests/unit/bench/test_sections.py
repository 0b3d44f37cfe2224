"""Every section exists, and what it measured becomes figures with bars and tables; losing values are bold."""

from __future__ import annotations

import importlib
import os

import pytest

from bench.__main__ import SECTIONS
from bench.function import one_at_a_time
from bench.measure import Load, build_request, take_turns
from bench.report import Section, UnavailableError
from bench.servers.catalogue import Server, as_jpeg
from bench.servers.running import Running, require_ours
from tests.ports import find_port


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_can_be_loaded(name: str) -> None:
    module, _, function = SECTIONS[name].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def values(section: Section) -> list[tuple[str, str]]:
    return [(figure.name, figure.render_value()) for figure in section.figures]


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
