"""A tainted node: `knative.pod` tolerates it, and without that the deploy says so."""

import time
from collections.abc import Iterator

import pytest

from knative.client.kinds import NODE, POD
from tests.e2e.places import NAME, Place
from tests.e2e.pods import run_kubectl

pytestmark = pytest.mark.timeout(900)
TAINT = "eaves.dev/e2e"
FLAG = "kubernetes.podspec-tolerations"
SEEN_S = 5.0
"""Seconds until Knative's webhook has read its ConfigMap again."""


def set_flag(place: Place, value: str) -> None:
    patch = f'{{"data":{{"{FLAG}":{value}}}}}'
    run_kubectl(
        place.kubeconfig, "-n", "knative-serving", "patch", "configmap", "config-features", "--type=merge", "-p", patch
    )


@pytest.fixture
def tainted(place: Place) -> Iterator[None]:
    """Every node is tainted, and Knative lets functions tolerate it."""
    place.kubectl("taint", "nodes", "--all", f"{TAINT}=line:NoSchedule", "--overwrite")
    try:
        yield
    finally:
        place.kubectl("taint", "nodes", "--all", f"{TAINT}-")
        set_flag(place, "null")


def test_a_function_gets_onto_a_tainted_node_by_its_tolerations_only(place: Place, image: str, tainted: None):
    refused = place.deploy(image, "--timeout", "30", codes=(69,)).stderr
    assert "untolerated taint" in refused
    assert "try: set knative.pod.tolerations in eaves.yaml" in refused
    place.configure(knative={"pod": {"tolerations": [{"key": TAINT, "operator": "Exists", "effect": "NoSchedule"}]}})
    unflagged = place.deploy(image, codes=(65,)).stderr
    assert FLAG in unflagged
    set_flag(place, '"enabled"')
    time.sleep(SEEN_S)
    place.deploy(image)
    pods = place.cluster.list(POD, selector=f"serving.knative.dev/service={NAME}")
    (pod,) = (one for one in pods if one["status"]["phase"] == "Running")
    (node,) = (one for one in place.cluster.list(NODE) if one["metadata"]["name"] == pod["spec"]["nodeName"])
    assert TAINT in {one["key"] for one in node["spec"]["taints"]}
    place.eaves("remove", NAME)
