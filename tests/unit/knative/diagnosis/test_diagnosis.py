"""Which state counts as ready, which as slow, which cause comes first, and what stands in the way of requests."""

from __future__ import annotations

import pytest

from knative.diagnosis import CAUSES, Diagnosis, FunctionEvidence, diagnose_function, given_up, is_ready
from tests.cluster.expanded import (
    APPLIED_S,
    IMAGE,
    condition,
    container,
    deployment,
    event,
    failed_revision,
    failed_service,
    pod,
    ready_service,
    revision,
    service,
    waiting,
)

READY_REVISION = revision(condition("Ready", "True"))


def routes(status: str, reason: str, message: str) -> Diagnosis | None:
    """What is found when only the routes aren't ready, a minute after they were last."""
    value = service(
        condition("ConfigurationsReady", "True"),
        condition("Ready", status, reason, message),
        condition("RoutesReady", status, reason, message),
    )
    found = diagnose_function(FunctionEvidence(service=value, revision=READY_REVISION, now=APPLIED_S + 60))
    assert found is None or found.cause in CAUSES
    return found


def test_ready_is_the_newest_revision_as_last_applied() -> None:
    assert is_ready(ready_service())
    assert diagnose_function(FunctionEvidence(service=ready_service())) is None
    assert not is_ready(ready_service(latestCreatedRevisionName="flowers-00002"))
    assert not is_ready(ready_service(observedGeneration=0))
    assert not is_ready(service())


def test_nothing_is_wrong_with_a_function_at_zero() -> None:
    asleep = revision(condition("Ready", "True"), condition("Active", "False", "NoTraffic", "not receiving traffic"))
    assert diagnose_function(FunctionEvidence(service=ready_service(), revision=asleep)) is None


@pytest.mark.parametrize("reason", ["OutOfDate", "RevisionMissing"])
def test_right_after_it_is_applied_it_is_only_slow(reason: str) -> None:
    value = service(condition("Ready", "Unknown", reason), condition("ConfigurationsReady", "Unknown"))
    assert diagnose_function(FunctionEvidence(service=value, revision=revision())) is None


def test_a_revision_that_is_being_replaced_is_not_blamed() -> None:
    """The Service still names the one before, which has failed."""
    value = service(
        condition("ConfigurationsReady", "Unknown", "OutOfDate"),
        condition("Ready", "Unknown", "OutOfDate"),
        generation=2,
    )
    stuck = pod(waiting("ErrImagePull", "manifest unknown"))
    assert diagnose_function(FunctionEvidence(service=value, revision=revision(), pods=[stuck])) is None
    unseen = service(generation=2, observed=1)
    assert diagnose_function(FunctionEvidence(service=unseen, revision=revision(), pods=[stuck])) is None


def test_a_controller_that_takes_no_notice() -> None:
    value = service(generation=2, observed=1)
    assert diagnose_function(FunctionEvidence(service=value, now=APPLIED_S + 5)) is None
    found = diagnose_function(FunctionEvidence(service=value, now=APPLIED_S + 40))
    assert found is not None
    assert (found.cause, found.final) == ("controller", False)
    assert "40 s ago" in found.message


@pytest.mark.parametrize(
    ("kind", "message", "command"),
    [
        (
            "RoutesReady",
            'There is an existing placeholder Service "flowers" that we do not own.',
            "delete service flowers",
        ),
        (
            "RoutesReady",
            'There is an existing placeholder Endpoint "flowers" that we do not own.',
            "delete endpoints flowers",
        ),
        (
            "ConfigurationsReady",
            'There is an existing Configuration "flowers" that we do not own.',
            "configurations.serving",
        ),
    ],
)
def test_a_name_that_somebody_else_has(kind: str, message: str, command: str) -> None:
    value = service(condition(kind, "False", "NotOwned", message), condition("Ready", "False", "NotOwned", message))
    found = diagnose_function(FunctionEvidence(service=value, revision=READY_REVISION))
    assert found is not None
    assert (found.cause, found.final) == ("refused", True)
    assert command in found.fix


def test_a_deployment_that_the_revision_does_not_own() -> None:
    message = 'There is an existing Deployment "flowers-00001-deployment" that we do not own.'
    failed = failed_revision("ResourcesAvailable", "NotOwned", message)
    found = diagnose_function(FunctionEvidence(service=failed_service(message), revision=failed))
    assert found is not None
    assert found.cause == "refused"
    assert "delete deployment flowers-00001-deployment" in found.fix


def test_a_revision_that_could_not_be_made() -> None:
    denied = (
        'Revision creation failed with message: admission webhook "validation.webhook.serving.knative.dev" denied the '
        "request: validation failed: must not set the field(s): spec.nodeSelector."
    )
    value = service(condition("ConfigurationsReady", "False", "RevisionFailed", denied), condition("Ready", "False"))
    found = diagnose_function(FunctionEvidence(service=value))
    assert found is not None
    assert found.cause == "flag"
    value = service(
        condition("ConfigurationsReady", "False", "RevisionFailed", "Revision creation failed with message: x."),
        condition("Ready", "False"),
    )
    other = diagnose_function(FunctionEvidence(service=value))
    assert other is not None
    assert (other.cause, other.final) == ("refused", False)


def test_a_networking_layer_that_does_nothing() -> None:
    found = routes("Unknown", "IngressNotConfigured", "Ingress has not yet been reconciled.")
    assert found is not None
    assert (found.cause, found.final) == ("routing", False)
    assert found.message == "no networking layer processes the function's Ingress (Ingress has not yet been reconciled)"
    assert "ingress-class" in found.fix


def test_a_gateway_that_does_not_come_up() -> None:
    found = routes("Unknown", "Uninitialized", "Waiting for load balancer to be ready")
    assert found is not None
    assert found.cause == "routing"


def test_a_networking_layer_has_some_seconds() -> None:
    value = service(
        condition("ConfigurationsReady", "True"),
        condition("Ready", "Unknown", "Uninitialized"),
        condition("RoutesReady", "Unknown", "Uninitialized", "Waiting for load balancer to be ready"),
    )
    assert diagnose_function(FunctionEvidence(service=value, revision=READY_REVISION, now=APPLIED_S + 5)) is None
    assert diagnose_function(FunctionEvidence(service=value, revision=READY_REVISION)) is None, (
        "nothing counts as old without a clock"
    )


@pytest.mark.parametrize(
    ("status", "reason", "final"),
    [("Unknown", "CertificateNotReady", False), ("False", "CertificateProvisionFailed", True)],
)
def test_a_certificate_that_is_not_there(status: str, reason: str, final: bool) -> None:
    found = routes(status, reason, "Certificate route-1 is not ready: OrderPending")
    assert found is not None
    assert (found.cause, found.final) == ("routing", final)
    assert "knative.public" in found.fix


def test_traffic_that_leads_nowhere() -> None:
    found = routes("False", "RevisionMissing", 'Revision "flowers-00000" referenced in traffic not found.')
    assert found is not None
    assert (found.cause, found.final) == ("routing", True)
    assert found.fix == "eaves promote flowers --on knative"


@pytest.mark.parametrize("reason", ["RolloutInProgress", "TrafficNotMigrated", "OutOfDate", "RevisionMissing"])
def test_routes_that_only_take_their_time(reason: str) -> None:
    assert routes("Unknown", reason, "") is None


GIVEN_UP = "Knative has stopped trying to start the revision flowers-00001"


def test_past_its_deadline_what_was_waited_for_is_final() -> None:
    late = deployment(condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing."))
    stuck = pod(scheduled="0/1 nodes are available: 1 Insufficient cpu.")
    found = diagnose_function(
        FunctionEvidence(service=failed_service("x"), revision=revision(), deployment=late, pods=[stuck])
    )
    assert found is not None
    assert (found.cause, found.final) == ("unschedulable", True)
    assert found.message.endswith(GIVEN_UP)
    assert found.fix.endswith("kubectl -n barn delete revisions.serving.knative.dev flowers-00001")


def test_past_its_deadline_without_a_trace() -> None:
    failed = failed_revision("ResourcesAvailable", "ProgressDeadlineExceeded", "Initial scale was never achieved")
    found = diagnose_function(
        FunctionEvidence(service=failed_service("Initial scale was never achieved"), revision=failed)
    )
    assert found is not None
    assert (found.cause, found.final) == ("controller", True)
    assert "scale.start_timeout_s" in found.fix


NEVER = failed_revision("ResourcesAvailable", "ProgressDeadlineExceeded", "Initial scale was never achieved")


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("Failed", f'Failed to pull image "{IMAGE}": rpc error: {IMAGE}: not found', "image"),
        ("Failed", f'Failed to pull image "{IMAGE}": dial tcp: i/o timeout', "image"),
        ("Failed", 'Error: secret "tokens" not found', "configuration"),
        ("Failed", 'Error: failed to create containerd task: exec: "x": no such file or directory', "configuration"),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", "unschedulable"),
        ("FailedCreate", 'Error creating: pods "x" is forbidden: exceeded quota: q, requested: pods=1', "refused"),
        ("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "x" not found', "configuration"),
    ],
)
def test_past_its_deadline_events_still_tell_why(reason: str, message: str, cause: str) -> None:
    events = [
        event(reason, message, at="2026-11-25T09:53:10Z"),
        event("Failed", "Error: ImagePullBackOff", at="2026-11-25T09:53:20Z"),
        event("Unhealthy", "Readiness probe failed", at="2026-11-25T09:53:30Z"),
        event("FailedMount", "of another function", at="2026-11-25T09:53:40Z", name="other-00001-deployment-1"),
    ]
    found = diagnose_function(FunctionEvidence(service=failed_service("x"), revision=NEVER, events=events))
    assert found is not None
    assert (found.cause, found.final) == (cause, True)
    assert found.message.endswith(GIVEN_UP)


def test_a_revision_that_went_to_zero_without_ever_being_ready_is_given_up() -> None:
    failed = failed_revision("ContainerHealthy", "ExitCode1", "Container failed with: ValueError")
    assert not given_up(FunctionEvidence(service=failed_service("x"), revision=failed))
    failed["status"]["conditions"].append(condition("Active", "False", "NoTraffic"))
    assert given_up(FunctionEvidence(service=failed_service("x"), revision=failed))
    never = failed_revision(
        "ContainerHealthy",
        "ExitCode128",
        'Container failed with: failed to create containerd task: exec: "x": not found',
    )
    found = diagnose_function(FunctionEvidence(service=failed_service("x"), revision=never))
    assert found is not None
    assert found.cause == "configuration"


def test_a_revision_that_still_speaks_of_what_is_over() -> None:
    """Knative doesn't take back that a pod could not be placed, or ended, when it is placed and runs."""
    stale = failed_revision("ResourcesAvailable", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
    running = pod(container())
    assert diagnose_function(FunctionEvidence(service=failed_service("x"), revision=stale, pods=[running])) is None
