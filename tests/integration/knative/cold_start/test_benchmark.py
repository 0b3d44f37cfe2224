"""The benchmark of cold starts, on a simulated cluster: what it deploys, measures and leaves."""

from __future__ import annotations

from pathlib import Path

from bench.knative import deploy, open_namespace
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
        with open_namespace(kubeconfig) as cluster:
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
