"""What a cluster doesn't let in, and pods that no node takes."""

from __future__ import annotations

import pytest

from knative.diagnosis import CAUSES, Diagnosis, FunctionEvidence, diagnose_function, explain_denial
from knative.diagnosis.feature_flags import FIELDS, enable_command, is_on, warn_lasting
from tests.cluster.expanded import condition, deployment, failed_revision, failed_service, pod, revision

DENIED = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
FORBIDDEN = 'pods "flowers-00001-deployment-5c69c499f5-h6mcv" is forbidden: '


def refused(message: str) -> Diagnosis:
    """What is found of a pod that its ReplicaSet may not make."""
    state = condition("ReplicaFailure", "True", "FailedCreate", message)
    sets = [deployment(state, kind="ReplicaSet")]
    failed = failed_revision("ResourcesAvailable", "FailedCreate", message)
    seen = []
    for evidence in (
        FunctionEvidence(
            service=failed_service(message), revision=failed, deployment=deployment(state), replica_sets=sets
        ),
        FunctionEvidence(service=failed_service(message), revision=failed),  # who may read no more
    ):
        found = diagnose_function(evidence)
        assert found is not None
        assert found.cause in CAUSES
        seen.append(found)
    assert seen[0] == seen[1]
    return seen[0]


def unschedulable(message: str, **spec: object) -> Diagnosis:
    stuck = pod(scheduled=message)
    stuck["spec"].update(spec)
    found = diagnose_function(FunctionEvidence(service=failed_service(message), revision=revision(), pods=[stuck]))
    assert found is not None
    assert not found.final, "a node may come, go and empty"
    assert found.cause in CAUSES
    return found


def test_a_quota_that_is_used_up_may_be_free_again() -> None:
    found = refused(f"{FORBIDDEN}exceeded quota: q, requested: pods=1,requests.cpu=35m, used: pods=0, limited: pods=0")
    assert (found.cause, found.final) == ("refused", False)
    assert found.message == (
        "the quota q of the namespace is used up: requested: pods=1,requests.cpu=35m, used: pods=0, limited: pods=0"
    )
    assert found.fix.startswith("kubectl -n barn describe resourcequota q")


def test_a_quota_that_wants_limits_of_the_sidecar() -> None:
    found = refused(f"{FORBIDDEN}failed quota: q: must specify limits.memory for: queue-proxy,user-container")
    assert (found.cause, found.final) == ("refused", True)
    assert "limits.memory for: queue-proxy,user-container" in found.message
    assert found.fix == (
        "kubectl -n knative-serving patch configmap config-features --type merge -p "
        """'{"data":{"queueproxy.resource-defaults":"enabled"}}', and set knative.memory_limit in eaves.yaml"""
    )
    only_ours = refused(f"{FORBIDDEN}failed quota: q: must specify limits.memory for: user-container")
    assert only_ours.fix == "set knative.memory_limit in eaves.yaml"
    sidecar = refused(f"{FORBIDDEN}failed quota: q: must specify limits.memory for: queue-proxy")
    assert "eaves.yaml" not in sidecar.fix


@pytest.mark.parametrize(
    "message",
    [
        f"{FORBIDDEN}maximum cpu usage per Container is 5m, but limit is 250m",
        f"{FORBIDDEN}minimum memory usage per Container is 1Gi, but request is 256Mi",
        (
            'Pod "flowers-00001-deployment-745cdbc8c7-9zdwk" is invalid: [spec.containers[0].resources.requests: '
            'Invalid value: "10m": must be less than or equal to cpu limit of 5m]'
        ),
    ],
)
def test_a_limit_range(message: str) -> None:
    found = refused(message)
    assert (found.cause, found.final) == ("refused", True)
    assert "kubectl -n barn describe limitrange" in found.fix


def test_pod_security() -> None:
    found = refused(
        f'{FORBIDDEN}violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"user-container" '
        "must set securityContext.allowPrivilegeEscalation=false)"
    )
    assert (found.cause, found.final) == ("refused", True)
    assert "restricted:latest" in found.message
    assert "allowPrivilegeEscalation != false" in found.message
    assert found.fix.endswith("kubectl label namespace barn --overwrite pod-security.kubernetes.io/enforce=baseline")
    host = refused(f'{FORBIDDEN}violates PodSecurity "baseline:v1.36": hostPath volumes (volume "spool")')
    assert host.fix.endswith("enforce=privileged")


def test_somebody_elses_webhook_is_named() -> None:
    found = refused('admission webhook "policy.example.com" denied the request: no such team')
    assert (found.cause, found.final) == ("refused", False)
    assert found.message == "the webhook policy.example.com refuses the pod: no such team"


PREEMPTION = (
    " no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)


def test_no_room_for_the_processor() -> None:
    found = unschedulable(f"0/1 nodes are available: 1 Insufficient cpu.{PREEMPTION}")
    assert found.cause == "unschedulable"
    assert found.message == (
        "the pod can't be scheduled on any node: it requests 275m cpu; 0/1 nodes are available: 1 Insufficient cpu"
    )
    assert found.fix.startswith("lower knative.cpu in eaves.yaml, or free resources on a node")


def test_no_room_for_the_memory() -> None:
    found = unschedulable(f"0/3 nodes are available: 3 Insufficient memory.{PREEMPTION}")
    assert "it requests 256Mi memory" in found.message
    assert "lower knative.memory" in found.fix


def test_a_selector_that_fits_no_node_comes_before_a_full_node() -> None:
    found = unschedulable(
        f"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node "
        f"affinity/selector.{PREEMPTION}",
        nodeSelector={"site": "barn"},
    )
    assert "kubectl get nodes -l site=barn" in found.fix
    assert "kubectl label node NODE site=barn" in found.fix


def test_a_device_that_no_plugin_provides_is_the_reason_of_a_daemon_sets_pod() -> None:
    """The scheduler says of every other node that the pod's node affinity doesn't fit."""
    found = unschedulable(
        "0/3 nodes are available: 1 Insufficient squat.ai/video, 2 node(s) didn't match Pod's node affinity/selector."
    )
    assert "it requests squat.ai/video" in found.message
    assert "`nodes` of the source" in found.fix


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
            "node-role.kubernetes.io/control-plane-",
        ),
        ("1 node(s) had untolerated taint(s)", "kubectl taint node NODE KEY-"),
        ("1 node(s) were unschedulable", "kubectl describe nodes"),
        ("1 Insufficient nvidia.com/gpu", r"allocatable.nvidia\.com/gpu"),
        ("1 node(s) had something new", "kubectl describe nodes"),
    ],
)
def test_other_reasons_of_the_scheduler(message: str, hint: str) -> None:
    assert hint in unschedulable(f"0/1 nodes are available: {message}.{PREEMPTION}").fix


@pytest.mark.parametrize(
    "message",
    [
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
        '0/1 nodes are available: persistentvolumeclaim "photos" not found. not found',
        "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
        "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.",
    ],
)
def test_a_volume_that_is_not_there(message: str) -> None:
    found = unschedulable(message)
    assert found.cause == "unschedulable"
    assert "kubectl -n barn get persistentvolumeclaims" in found.fix
    assert ("persistentvolumeclaims photos" in found.fix) is ("photos" in message)


def test_what_only_the_revision_remembers() -> None:
    message = "0/1 nodes are available: 1 Insufficient cpu."
    failed = failed_revision("ResourcesAvailable", "Unschedulable", message)
    found = diagnose_function(FunctionEvidence(service=failed_service(message), revision=failed))
    assert found is not None
    assert found.cause == "unschedulable"


@pytest.mark.parametrize(
    ("denial", "key"),
    [
        ("must not set the field(s): spec.template.spec.nodeSelector", "kubernetes.podspec-nodeselector"),
        ("must not set the field(s): spec.template.spec.affinity", "kubernetes.podspec-affinity"),
        (
            (
                "Image volume support is disabled, but found Image volume v: \nmust not set the field(s): "
                "spec.template.spec.volumes[0].image"
            ),
            "kubernetes.podspec-volumes-image",
        ),
        (
            (
                "HostPath volume support is disabled, but found HostPath volume v: \nmust not set the field(s): "
                "spec.template.spec.volumes[0].hostPath"
            ),
            "kubernetes.podspec-volumes-hostpath",
        ),
        ("EmptyDir volume support is disabled, but found EmptyDir volume tmp: ", "kubernetes.podspec-volumes-emptydir"),
    ],
)
def test_a_missing_feature_flag_and_the_line_that_sets_it(denial: str, key: str) -> None:
    found = explain_denial(DENIED + denial)
    assert found is not None
    assert (found.cause, found.final) == ("flag", True)
    assert key in found.message
    assert found.fix == (
        f'kubectl -n knative-serving patch configmap config-features --type merge -p \'{{"data": {{"{key}": '
        '"enabled"}}\''
    )


def test_that_a_flag_cannot_be_turned_off_again_is_said_beforehand() -> None:
    found = explain_denial(DENIED + "must not set the field(s): spec.template.spec.nodeSelector")
    assert found is not None
    assert "kubernetes.podspec-nodeselector cannot safely be disabled once enabled" in found.message
    image = explain_denial(DENIED + "must not set the field(s): spec.template.spec.volumes[0].image")
    assert image is not None
    assert "disabled once enabled" not in image.message
    assert warn_lasting(FIELDS["image"]) == ""


def test_several_flags_are_one_command() -> None:
    found = explain_denial(
        DENIED
        + "Persistent volume claim support is disabled, but found persistent volume claim x: \nPersistent volume write "
        "support is disabled, but found persistent volume claim x that is not read-only: \nmust not set the field(s): "
        "spec.template.spec.volumes[0].persistentVolumeClaim, spec.template.spec.tolerations"
    )
    assert found is not None
    for key in ("persistent-volume-claim", "persistent-volume-write", "tolerations"):
        assert f'"kubernetes.podspec-{key}": "enabled"' in found.fix


@pytest.mark.parametrize(
    "denial",
    [
        DENIED + "expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency",
        DENIED + "must not set the field(s): spec.template.spec.restartPolicy",
        "must not set the field(s): spec.template.spec.containers[0].securityContext.privileged",
    ],
)
def test_another_fault_is_no_missing_flag(denial: str) -> None:
    assert explain_denial(denial) is None


def test_a_name_that_is_none_is_said_when_it_is_applied() -> None:
    found = explain_denial(
        DENIED + "Failed to parse image reference: spec.template.spec.containers[0].image\nimage: "
        '"registry.test:5000/UPPER@sha256:00", error: could not parse reference: registry.test:5000/UPPER@sha256:00'
    )
    assert found is not None
    assert (found.cause, found.final) == ("image", True)
    assert "registry.test:5000/UPPER@sha256:00" in found.message


@pytest.mark.parametrize(
    ("value", "selector", "volume"),
    [
        ("enabled", True, True),
        ("Enabled", True, True),
        ("allowed", True, False),
        ("disabled", False, False),
        (None, False, True),
    ],
)
def test_when_a_flag_counts_as_on(value: str | None, selector: bool, volume: bool) -> None:
    for name, on in (("nodeSelector", selector), ("emptyDir", volume)):
        flag = FIELDS[name]
        assert is_on(flag, {} if value is None else {flag.key: value}) is on


def test_the_command_is_one_line_of_json() -> None:
    assert enable_command(FIELDS["nodeSelector"], FIELDS["affinity"]).count("enabled") == 2
