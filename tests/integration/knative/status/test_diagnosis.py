"""Which state of a function counts as ready, which as slow, which cause comes first, and what stands in its way."""

from __future__ import annotations

import pytest

from knative.client.cluster import Cluster
from knative.status.conditions import CAUSES, Diagnosis
from knative.status.readiness import read_function
from tests.cluster.expanded import (
    APPLIED_S,
    NAME,
    Manifest,
    condition,
    container,
    failed_revision,
    failed_service,
    pod,
    ready_service,
    revision,
    service,
)
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.integration.knative.status.test_wait import put

READY_REVISION = revision(condition("Ready", "True"))
GIVEN_UP = "Knative has stopped trying to start the revision flowers-00001"
NEVER = "Initial scale was never achieved"


def denied(kind: str, status: str, reason: str, message: str) -> Manifest:
    """A Service whose one condition isn't True."""
    states = [condition("ConfigurationsReady", "True")] if kind != "ConfigurationsReady" else []
    return service(*states, condition("Ready", status, reason, message), condition(kind, status, reason, message))


def diagnose(
    apiserver: FakeCluster, cluster: Cluster, value: Manifest, *others: Manifest, now: float = APPLIED_S + 60
) -> Diagnosis | None:
    put(apiserver, *others)
    found = read_function(cluster, NAME, service=value, now=now).diagnosis
    assert found is None or found.cause in CAUSES
    return found


@pytest.mark.parametrize(
    ("value", "made", "now"),
    [
        (ready_service(), revision(condition("Active", "False", "NoTraffic")), 60),
        # The Service still names the revision before, which has failed.
        (service(condition("ConfigurationsReady", "Unknown", "OutOfDate"), generation=2), revision(), 60),
        (service(generation=2, observed=1), revision(), 5),
        (denied("RoutesReady", "Unknown", "Uninitialized", "Waiting for load balancer"), READY_REVISION, 5),
        (denied("RoutesReady", "Unknown", "RevisionMissing", ""), READY_REVISION, 60),
    ],
    ids=["at zero", "replaced", "unseen", "a layer has seconds", "no revision yet"],
)
def test_what_only_takes_its_time(
    apiserver: FakeCluster, cluster: Cluster, value: Manifest, made: Manifest, now: int
) -> None:
    assert diagnose(apiserver, cluster, value, made, now=APPLIED_S + now) is None


@pytest.mark.parametrize(
    ("value", "cause", "final", "message", "fix"),
    [
        (service(generation=2, observed=1), "controller", False, "60 s ago", "kubectl -n knative-serving get pods"),
        (
            denied(
                "RoutesReady", "False", "NotOwned", 'There is an existing placeholder Service "f" that we do not own.'
            ),
            *("refused", True, "the name is in use: Service f", "kubectl -n cams delete Service f"),
        ),
        (
            denied(
                "ConfigurationsReady",
                *("False", "X", "Revision creation failed with message: must not set the field(s): spec.nodeSelector."),
            ),
            *("flag", True, "kubernetes.podspec-nodeselector", "patch configmap config-features"),
        ),
        (
            denied("RoutesReady", "Unknown", "IngressNotConfigured", "Ingress has not yet been reconciled."),
            *("routing", False, "no networking layer processes the function's Ingress (Ingress has", "ingress-class"),
        ),
        (
            denied("RoutesReady", "False", "RevisionMissing", 'Revision "f-0" referenced in traffic not found.'),
            *("routing", True, "requests are routed to a revision that does not exist", "eaves promote flowers"),
        ),
    ],
)
def test_what_the_service_says(
    apiserver: FakeCluster, cluster: Cluster, value: Manifest, cause: str, final: bool, message: str, fix: str
) -> None:
    found = diagnose(apiserver, cluster, value, READY_REVISION)
    assert found is not None
    assert (found.cause, found.final) == (cause, final)
    assert message in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("kind", "reason", "message", "cause", "words"),
    [
        ("ResourcesAvailable", "ImagePullBackOff", "dial tcp: i/o timeout", "image", "node NODE can't pull"),
        ("ResourcesAvailable", "Unschedulable", "1 Insufficient cpu", "unschedulable", "1 Insufficient cpu"),
        ("ResourcesAvailable", "FailedCreate", "exceeded quota: q, requested: pods=1", "refused", "the quota q"),
        (
            "ContainerHealthy",
            "ExitCode1",
            "Container failed with: ValueError: x",
            "crash",
            "exit code 1: ValueError: x",
        ),
        (
            *("ContainerHealthy", "ExitCode128"),
            *("Container failed with: failed to create containerd task: x", "configuration", "can't be started"),
        ),
        ("ResourcesAvailable", "ProgressDeadlineExceeded", NEVER, "controller", "within its progress deadline"),
    ],
)
def test_what_a_revision_says_once_its_pods_have_gone(
    apiserver: FakeCluster, cluster: Cluster, kind: str, reason: str, message: str, cause: str, words: str
) -> None:
    found = diagnose(apiserver, cluster, failed_service(message), failed_revision(kind, reason, message))
    assert found is not None
    assert found.cause == cause
    assert words in found.message


def test_a_revision_that_still_speaks_of_what_is_over(apiserver: FakeCluster, cluster: Cluster) -> None:
    """Knative doesn't take back that a pod could not be placed, or ended, when it is placed and runs."""
    stale = failed_revision("ResourcesAvailable", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
    assert diagnose(apiserver, cluster, failed_service("x"), stale, pod(container())) is None


def test_past_its_deadline_what_was_waited_for_is_final(apiserver: FakeCluster, cluster: Cluster) -> None:
    late = failed_revision("ResourcesAvailable", "ProgressDeadlineExceeded", NEVER)
    stuck = pod(scheduled="0/1 nodes are available: 1 Insufficient cpu.")
    found = diagnose(apiserver, cluster, failed_service("x"), late, stuck)
    assert found is not None
    assert (found.cause, found.final) == ("unschedulable", True)
    assert found.message.endswith(GIVEN_UP)
    assert found.fix.endswith("kubectl -n cams delete revisions.serving.knative.dev flowers-00001")


def test_a_revision_that_went_to_zero_without_ever_being_ready_is_given_up(
    apiserver: FakeCluster, cluster: Cluster
) -> None:
    failed = failed_revision("ContainerHealthy", "ExitCode1", "Container failed with: ValueError")
    put(apiserver, failed)
    assert not read_function(cluster, NAME, service=failed_service("x")).given_up
    failed["status"]["conditions"].append(condition("Active", "False", "NoTraffic"))
    put(apiserver, failed)
    assert read_function(cluster, NAME, service=failed_service("x")).given_up
