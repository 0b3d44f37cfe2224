"""What a function waits for over HTTP: which state counts as ready, which as slow, and which cause comes first."""

import json

import pytest

from eaves.errors import NotFoundError, StartError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.status.conditions import CAUSES, Diagnosis
from knative.status.readiness import Rows, read_function, wait_ready
from tests.cluster.expanded import (
    APPLIED_S,
    NAME,
    NAMESPACE,
    POD,
    REVISION,
    Manifest,
    condition,
    container,
    event,
    failed_revision,
    failed_service,
    pod,
    ready_service,
    revision,
    service,
    waiting,
)
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.fakes.kubernetes.cluster import Reply


def put(server: FakeCluster, *values: Manifest) -> None:
    for value in values:
        server.put({**value, "metadata": {key: v for key, v in value["metadata"].items() if key != "uid"}})


def wait(cluster: Cluster, timeout_s: float = 10.0) -> list[Rows]:
    """Everything that was shown."""
    shown: list[Rows] = []
    wait_ready(cluster, NAME, timeout_s=timeout_s, show=shown.append, poll_s=0.1)
    return shown


def fail(cluster: Cluster, timeout_s: float = 10.0) -> StartError:
    with pytest.raises(StartError) as caught:
        wait(cluster, timeout_s)
    return caught.value


def test_what_is_ready_is_not_waited_for(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, ready_service(), pod(container(ready=True), ready=True))
    assert wait(cluster) == [[{"what": REVISION, "state": "ready", "detail": f"100 % {REVISION}"}]]


def test_it_is_ready_when_the_service_says_so(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service(), revision(), pod(waiting("ContainerCreating")))
    states: list[list[str]] = []

    def show(rows: Rows) -> None:
        states.append([row["state"] for row in rows])
        put(apiserver, ready_service())

    wait_ready(cluster, NAME, timeout_s=20, show=show, poll_s=0.1)
    assert states == [["not ready (RevisionMissing)"], ["ready"]]


def test_one_look_at_a_fault_is_not_enough(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service(), revision(), pod(waiting("ErrImagePull", "manifest unknown")))
    shown: list[Rows] = []

    def show(rows: Rows) -> None:
        shown.append(rows)
        put(apiserver, ready_service())  # the pod was just being replaced

    wait_ready(cluster, NAME, timeout_s=10, show=show, poll_s=0.1)
    assert shown[0][-1]["state"] == "image"


def test_what_may_come_right_is_waited_for_and_remembered_when_its_pods_have_gone(
    apiserver: FakeCluster, cluster: Cluster
):
    stuck = pod(scheduled="0/1 nodes are available: 1 Insufficient cpu.")
    put(apiserver, failed_service("0/1 nodes are available"), revision(), stuck)
    last: list[str] = []

    def show(rows: Rows) -> None:
        last.append(rows[-1]["state"])
        if len(last) == 2:
            apiserver.remove("Pod", POD, namespace=NAMESPACE)

    with pytest.raises(StartError) as caught:
        wait_ready(cluster, NAME, timeout_s=0.6, show=show, poll_s=0.1)
    assert last[:2] == ["unschedulable"] * 2
    assert "unschedulable" not in last[-1]
    assert caught.value.message.startswith("flowers was not ready within 0.6 s: the pod can't be scheduled on any node")
    assert "lower knative.pod.resources.requests.cpu" in str(caught.value.hint)


def test_a_running_function_tells_in_its_log_why_it_is_never_ready(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service(), revision(), pod(container()))
    line = json.dumps({"level": "error", "message": "never ready: golden image 3 differs (try: eaves verify ARTIFACT)"})
    apiserver.write_log(POD, "starting", line, container="user-container", namespace=NAMESPACE)
    error = fail(cluster)
    assert error.message == "flowers can't start: the function reports: golden image 3 differs"
    assert error.hint == "eaves verify ARTIFACT"


def test_events_are_read_where_only_they_tell(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service(), revision(), pod(waiting("ContainerCreating")))
    reported = event("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "x" not found')
    del reported["involvedObject"]["uid"]
    apiserver.put({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": NAMESPACE}, **reported})
    assert "a volume can't be mounted" in fail(cluster, timeout_s=0.3).message


def test_who_may_only_read_the_service_gets_the_service(apiserver: FakeCluster, cluster: Cluster):
    kinds = ("pods", "events")
    apiserver.denied = {("list", kind) for kind in kinds} | {("get", "revisions.serving.knative.dev")}
    taken = 'There is an existing placeholder Service "flowers" that we do not own.'
    unready = (condition("RoutesReady", "False", "NotOwned", taken), condition("Ready", "False", "NotOwned"))
    put(apiserver, service(*unready))
    assert "the name is in use: Service flowers in the namespace cams" in fail(cluster).message


def test_traffic_that_leads_nowhere_is_left_to_who_promotes(apiserver: FakeCluster, cluster: Cluster):
    gone = 'Revision "flowers-00000" referenced in traffic not found.'
    states = [condition(kind, "False", "RevisionMissing", gone) for kind in ("Ready", "RoutesReady")]
    put(apiserver, service(condition("ConfigurationsReady", "True"), *states, latestReadyRevisionName=REVISION))
    put(apiserver, revision(condition("Ready", "True")))
    (shown,) = wait(cluster)
    assert shown[-1]["state"] == "routing"


def test_one_that_is_removed_meanwhile(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service())

    def show(rows: Rows) -> None:
        apiserver.remove("serving.knative.dev/v1/Service", NAME, namespace=NAMESPACE)

    with pytest.raises(NotFoundError, match="does not exist in cams"):
        wait_ready(cluster, NAME, timeout_s=10, show=show, poll_s=0.1)


def test_a_link_that_is_down_meanwhile_is_waited_for(apiserver: FakeCluster, cluster: Cluster):
    put(apiserver, service(), revision())
    shown: list[Rows] = []

    def show(rows: Rows) -> None:
        shown.append(rows)
        apiserver.fault = lambda request: Reply(status=0) if len(shown) == 1 else None
        if len(shown) == 2:
            put(apiserver, ready_service())

    wait_ready(cluster, NAME, timeout_s=30, show=show, poll_s=0.1)
    assert (shown[1][-1]["state"], shown[1][0]["what"]) == ("no answer", REVISION), "what was seen last is still shown"
    apiserver.fault = lambda request: Reply(status=0)
    with pytest.raises(UnreachableClusterError):
        wait_ready(cluster, NAME, timeout_s=0.1, poll_s=0.1)


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
def test_what_only_takes_its_time(apiserver: FakeCluster, cluster: Cluster, value: Manifest, made: Manifest, now: int):
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
):
    found = diagnose(apiserver, cluster, value, READY_REVISION)
    assert found is not None
    assert (found.cause, found.final) == (cause, final)
    assert message in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("kind", "reason", "message", "cause", "words"),
    [
        ("ResourcesAvailable", "ImagePullBackOff", "dial tcp: i/o timeout", "image", "node NODE can't pull"),
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
):
    found = diagnose(apiserver, cluster, failed_service(message), failed_revision(kind, reason, message))
    assert found is not None
    assert found.cause == cause
    assert words in found.message


def test_a_revision_that_still_speaks_of_what_is_over(apiserver: FakeCluster, cluster: Cluster):
    """Knative doesn't take back that a pod could not be placed, or ended, when it is placed and runs."""
    stale = failed_revision("ResourcesAvailable", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
    assert diagnose(apiserver, cluster, failed_service("x"), stale, pod(container())) is None


def test_past_its_deadline_what_was_waited_for_is_final(apiserver: FakeCluster, cluster: Cluster):
    late = failed_revision("ResourcesAvailable", "ProgressDeadlineExceeded", NEVER)
    stuck = pod(scheduled="0/1 nodes are available: 1 Insufficient cpu.")
    found = diagnose(apiserver, cluster, failed_service("x"), late, stuck)
    assert found is not None
    assert (found.cause, found.final) == ("unschedulable", True)
    assert found.message.endswith(GIVEN_UP)
    assert found.fix.endswith("kubectl -n cams delete revisions.serving.knative.dev flowers-00001")


def test_a_revision_that_went_to_zero_without_ever_being_ready_is_given_up(apiserver: FakeCluster, cluster: Cluster):
    failed = failed_revision("ContainerHealthy", "ExitCode1", "Container failed with: ValueError")
    put(apiserver, failed)
    assert not read_function(cluster, NAME, service=failed_service("x")).given_up
    failed["status"]["conditions"].append(condition("Active", "False", "NoTraffic"))
    put(apiserver, failed)
    assert read_function(cluster, NAME, service=failed_service("x")).given_up
