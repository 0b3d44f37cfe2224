"""The judge of manifests passes what a cluster took and catches what one refuses."""

import copy
from typing import Any

import pytest

from tests.cluster.manifests import restricted_faults, validate

POD_SPEC: dict[str, Any] = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    "containers": [
        {
            "name": "main",
            "image": "registry/image@sha256:" + "0" * 64,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
        }
    ],
}


def job(**changes: Any) -> dict[str, Any]:
    """A Job whose pod is changed at dotted paths, `containers.0.image`."""
    spec = copy.deepcopy(POD_SPEC)
    for path, value in changes.items():
        place: Any = spec
        *parents, last = path.split(".")
        for part in parents:
            place = place[int(part)] if part.isdecimal() else place[part]
        place[last] = value
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"restartPolicyy": "Never"}, "'restartPolicyy' was unexpected"),
        ({"containers.0.resources": {"requests": {"memory": "1 GB"}}}, "'1 GB' is no quantity"),
        ({"volumes": []}, "volume tmp is mounted but not there"),
        ({"containers.0.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "A is set twice"),
    ],
)
def test_a_fault_in_a_pod_is_found(changes: dict[str, Any], text: str):
    with pytest.raises(AssertionError, match=text):
        validate(job(**changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hostNetwork": True}, "hostNetwork is on"),
        ({"volumes": [{"name": "tmp", "hostPath": {"path": "/"}}]}, "volume tmp is a hostPath"),
        ({"containers.0.securityContext": {}}, "capabilities are not dropped"),
        ({"securityContext": {}}, "it may run as root"),
    ],
)
def test_what_restricted_pod_security_refuses_is_found(changes: dict[str, Any], text: str):
    assert any(text in fault for fault in restricted_faults(job(**changes)["spec"]["template"]))
