"""The load generator of the benchmarks, against a function as they start it: on loopback."""

from __future__ import annotations

from pathlib import Path

from bench.measure import build_request, send_all
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.processes.function import Function


def test_a_function_on_loopback_answers_the_load(tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    artifact = write_colours(tmp_path / "artifact").path
    function = Function(artifact, tmp_path, module="tests.fakes.models.function", GATE=str(tmp_path / "gate"))
    try:
        function.wait_ready()
        load = send_all(function.port(), [build_request(encode_png(COLOURS["red"]))] * 6, connections=2)
    finally:
        function.stop()
    assert len(load.latencies_ms) == len(load.begun_at) == 6
