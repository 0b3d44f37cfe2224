"""The benchmark of cold starts, on a simulated cluster: what it deploys, measures, prints and leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.knative.report import print_bars, print_phases, print_start
from bench.knative.services import deploy, open_namespace
from eaves.platform.cold_start import ColdStart
from knative.client.kinds import NAMESPACE
from knative.cold_start import ColdRequest, ColdSubject, measure_in_turn, read_target
from knative.settings import KnativeSettings
from tests.fakes.controllers.cold_function import STAGES, ColdFunction
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import open_apiserver

IMAGE = "registry.example/flowers@sha256:" + 64 * "a"


def test_functions_and_floor_are_measured_in_turn_and_removed(tmp_path: Path) -> None:
    with open_apiserver() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", namespace="default")
        with open_namespace(kubeconfig, "") as cluster:
            knative = Knative(server, cluster.namespace)
            names = deploy(cluster, {"fp32": IMAGE, "int8": IMAGE}, "registry.example/floor:1", KnativeSettings())
            functions = [ColdFunction(knative, name, stages=STAGES if name != "floor" else None) for name in names]
            subjects = [ColdSubject(target=read_target(cluster, name), request=ColdRequest()) for name in names]
            assert [(subject.target.timing, subject.target.window_s) for subject in subjects] == [
                (True, 6.0), (True, 6.0), (False, 6.0),
            ]  # fmt: skip
            order: list[str] = []
            found = measure_in_turn(cluster, subjects, 1, show=lambda target, start: order.append(target.name))
            assert order == names == ["fp32", "int8", "floor"]
            assert [len(starts) for starts in found] == [function.starts for function in functions] == [1, 1, 1]
            assert ["golden" in starts[0].ends_ms for starts in found] == [True, True, False]
            kept = cluster.namespace
        assert cluster.get(NAMESPACE, kept) is None


def test_a_table_has_a_column_for_each_and_a_missed_bar_is_bold(capsys: pytest.CaptureFixture[str]) -> None:
    def start(total_ms: float) -> ColdStart:
        return ColdStart(ends_ms={"autoscaling": 100.0, "golden": 200.0}, total_ms=total_ms, warm_ms=9.0)

    print_start("fp32", start(1200.0))
    expected = "fp32        1200 ms (warm 9): autoscaling 100, golden 100, answer 1000\n"
    assert capsys.readouterr().out == expected
    results = {"fp32": [start(1200.0), start(1300.0), start(1100.0)], "int8": [start(900.0)] * 3}
    print_phases(results | {"floor": [start(700.0)] * 3})
    print_bars(results | {"floor": [start(700.0)] * 3})
    lines = [re.split(r"\s+", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert ["total", "1200", "900", "700"] in lines
    assert ["range", "of", "total", "1100-1300", "900-900", "700-700"] in lines
    assert ["fp32", "500", "250", "**missed**"] in lines
    assert ["int8", "200", "250", "kept"] in lines
    print_bars(results)
    assert "--floor-image" in capsys.readouterr().out
