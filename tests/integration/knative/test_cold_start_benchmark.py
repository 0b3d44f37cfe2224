"""The benchmark of cold starts, on a simulated cluster: what it deploys, measures and leaves."""

from __future__ import annotations

import json
from pathlib import Path

from bench.knative import build_section, deploy, measure_in_turn, open_namespace
from knative.client.kinds import NAMESPACE
from knative.settings import KnativeSettings
from tests.fakes.controllers.knative import Knative
from tests.fakes.controllers.serving import SERVICE_LABEL
from tests.fakes.kubernetes.apiserver import open_apiserver
from tests.fakes.kubernetes.cluster import Reply, Request

IMAGE = "registry.example/flowers@sha256:" + 64 * "a"
STAGES = {"interpreter": 0.01, "open session": 0.02, "first prediction": 0.05}


class ColdFunction:
    """Starts a pod for the first request; it stays, as one round needs no end."""

    def __init__(self, knative: Knative, name: str) -> None:
        self._server, self._space, self._name = knative.server, knative.namespace, name
        self._asked = 0
        knative.functions[name] = self

    def __call__(self, request: Request) -> Reply:
        if not self._asked:
            metadata = {"name": f"{self._name}-1", "labels": {SERVICE_LABEL: self._name}}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}
            self._server.put(pod, manager="kubelet", namespace=self._space)
            line = json.dumps({"start_ms": STAGES})
            self._server.write_log(f"{self._name}-1", "listening", line, container="function", namespace=self._space)
        self._asked += 1
        return Reply(body=json.dumps({"timings_ms": {"infer": 0.01}}).encode())


def test_functions_and_floor_are_measured_in_turn_and_removed(tmp_path: Path) -> None:
    with open_apiserver() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", namespace="default")
        with open_namespace(kubeconfig) as cluster:
            knative = Knative(server, cluster.namespace)
            names = deploy(cluster, {"fp32": IMAGE, "int8": IMAGE}, "registry.example/floor:1", KnativeSettings())
            for name in names:
                ColdFunction(knative, name)
            found = measure_in_turn(cluster, names, b"\xff\xd8", 1)
            assert list(found) == names == ["fp32", "int8", "floor"]
            assert set(found["fp32"][0].phases_ms) == {"launch", "interpreter", "session", "prediction", "answer"}
            assert [row[0] for row in build_section(found).tables[0].rows][-2:] == ["total", "warm"]
            kept = cluster.namespace
        assert cluster.get(NAMESPACE, kept) is None
