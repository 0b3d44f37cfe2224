"""Diagnosis of a function that isn't ready: its Service, revision and pods are read, and the first cause is explained.

It changes no object, and calls no fault final that may still disappear by itself.

Source: Knative Serving 1.23, pkg/apis/serving/v1/route_lifecycle.go, service_lifecycle.go, configuration_lifecycle.go
and revision_lifecycle.go; knative.dev/networking, pkg/apis/networking/v1alpha1/ingress_lifecycle.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, POD, REVISION, Manifest, Object, status_of
from knative.resources.function import CONTAINER
from knative.status.conditions import (
    Diagnosis,
    absent_function,
    condition,
    image_of,
    is_alive,
    is_ready,
    is_true,
    last_applied,
    name_of,
    namespace_of,
    observed,
    parse_time,
    quote,
)
from knative.status.pods import diagnose_pods, explain_pod, read_permitted
from knative.status.refusals import explain_refusal

REVISION_LABEL = "serving.knative.dev/revision"
MAX_DELAY_S = 15.0
"""Maximum seconds that a controller or a networking layer may take before it counts as faulty; one that works takes
less than 2 s."""
_DEADLINE = "ProgressDeadlineExceeded"
_OWNED = re.compile("that we (do not|don't) own")
_CREATION = "Revision creation failed"
UNSEEN = "controller"
"""Value of `Diagnosis.cause` when an object's controller hasn't processed its last change."""
TRAFFIC = "traffic"
"""Value of `Diagnosis.key` when the traffic names a revision that doesn't exist, which `promote` fixes."""
_GONE = re.compile(r'(\w+) "([^"]+)" referenced in traffic not found')
_NOT_THERE = frozenset({"RevisionNotOwned", "RevisionNameTaken"})
_INGRESS = frozenset({"IngressNotConfigured", "Uninitialized", "CertificateNotReady"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFunction:
    """A Knative Service with its latest created Revision, at one moment.

    Attributes:
        service: The Knative Service.
        revision: Latest created Revision; None when the function is ready, or it can't be read.
        diagnosis: Why the function isn't ready; None when it is, or when it only needs more time.
    """

    service: Object
    revision: Object | None = None
    diagnosis: Diagnosis | None = None

    @property
    def given_up(self) -> bool:
        """Whether Knative has given up the revision: after its progress deadline, it is never started again."""
        off = [condition(self.revision, kind).get("status") == "False" for kind in ("Active", "Ready")]
        return all(off) or condition(self.revision, "ResourcesAvailable").get("reason") == _DEADLINE


def read_function(cluster: Cluster, name: str, *, service: Object | None = None, now: float = 0.0) -> ObservedFunction:
    """Read a function, and diagnose it if it isn't ready.

    Args:
        cluster: Connection to the site's cluster.
        name: Name of the Service, in the cluster's namespace.
        service: The Service if it was read already.
        now: The API server's clock, Unix seconds; 0 when it isn't known.

    Raises:
        NotFoundError: When there is no such Service.
        ClusterError: When a request to the cluster fails; objects that the user may not read are left out.
    """
    service = service or cluster.get(KSERVICE, name)
    if service is None:
        raise absent_function(cluster, name)
    if is_ready(service):
        return ObservedFunction(service=service)
    created = str(status_of(service).get("latestCreatedRevisionName", ""))
    revision = read_permitted(lambda: cluster.get(REVISION, created), None) if created else None
    seen = ObservedFunction(service=service, revision=revision)
    return replace(seen, diagnosis=_diagnose(cluster, seen, created, now))


def _diagnose(cluster: Cluster, seen: ObservedFunction, created: str, now: float) -> Diagnosis | None:
    service, namespace = seen.service, namespace_of(seen.service)
    if not observed(service):
        return explain_unseen(service, now)
    configured = condition(service, "ConfigurationsReady")
    for state in (configured, condition(service, "RoutesReady"), condition(seen.revision, "ResourcesAvailable")):
        said = str(state.get("message", ""))
        if _OWNED.search(said) is not None or _CREATION in said:
            return explain_refusal(said, namespace)
    if configured.get("reason") == "OutOfDate":
        return None  # the Service still names the previous Revision
    if is_true(seen.revision, "Ready"):
        return _explain_routes(service, now)
    selector = f"{REVISION_LABEL}={created}"
    pods = read_permitted(lambda: cluster.list(POD, selector=selector), list[Manifest]())
    living = [pod for pod in pods if is_alive(pod)]
    found = diagnose_pods(cluster, living)
    if not living:
        # With a pod, a Revision still reports for a long time what no longer keeps the pod from starting.
        found = _explain_revision(seen.revision, namespace)
    return _add_deadline(found, seen, namespace) if seen.given_up else found


def _explain_routes(service: Object, now: float) -> Diagnosis | None:
    """Explain why requests don't reach a Revision that is ready; return None when they do, or may do so soon."""
    state = condition(service, "RoutesReady")
    reason, message = str(state.get("reason", "")), str(state.get("message", ""))
    if not state or state.get("status") == "True":
        return None
    gone = _GONE.search(message)
    if gone is not None or reason in _NOT_THERE:
        return Diagnosis(
            "routing",
            f"requests are routed to a revision that does not exist: {quote(gone[0] if gone else message)}",
            f"eaves promote {name_of(service)} --on knative",
            final=True,
            key=TRAFFIC,
        )
    since = parse_time(state.get("lastTransitionTime"))
    late = reason in _INGRESS and bool(now and since and now - since > MAX_DELAY_S)
    if not late and (state.get("status") != "False" or reason == "RevisionMissing"):
        return None
    nobody = reason == "IngressNotConfigured"
    why = "no networking layer processes the function's Ingress" if nobody else "the networking layer isn't ready"
    return Diagnosis(
        "routing",
        f"{why} ({quote(message) or reason})",
        "kubectl -n knative-serving get configmap config-network -o jsonpath='{.data.ingress-class}'   # this "
        "networking layer must run; `eaves doctor` checks it",
    )


def explain_unseen(value: Object, now: float) -> Diagnosis | None:
    """Report that a controller hasn't processed an object's last change; return None in the first seconds.

    Args:
        value: The object.
        now: The API server's clock, Unix seconds; 0 when it isn't known.
    """
    applied = last_applied(value)
    waited_s = now - applied if now and applied else 0.0
    if waited_s < MAX_DELAY_S:
        return None
    where = "knative-serving" if value.get("kind") == KSERVICE.kind else "knative-eventing"
    return Diagnosis(
        UNSEEN,
        f"its controller has not processed the change that was applied {waited_s:.0f} s ago",
        f"kubectl -n {where} get pods",
    )


def _explain_revision(revision: Object | None, namespace: str) -> Diagnosis | None:
    """Explain why a Revision isn't ready from its conditions, which keep the last words of pods that are gone."""
    for kind in ("ContainerHealthy", "ResourcesAvailable"):
        state = condition(revision, kind)
        reason, message = str(state.get("reason", "")), str(state.get("message", ""))
        if revision is None or state.get("status") != "False" or not reason:
            continue
        if reason == "FailedCreate":
            return explain_refusal(message, namespace)
        said: Manifest = {"waiting": {"reason": reason, "message": message}}
        if reason.startswith("ExitCode"):
            code, text = reason.removeprefix("ExitCode"), message.removeprefix("Container failed with: ")
            said = {"terminated": {"exitCode": code, "message": text}}
        placed = {"type": "PodScheduled", "status": str(reason != "Unschedulable"), "message": message}
        container = {"state": said, "name": CONTAINER, "image": image_of(revision)}
        found = explain_pod({**revision, "status": {"conditions": [placed], "containerStatuses": [container]}})
        if found is not None:
            return found
    return None


def _add_deadline(found: Diagnosis | None, seen: ObservedFunction, namespace: str) -> Diagnosis:
    """Return a final diagnosis, whose fix makes Knative try again; it has given up the revision."""
    name = name_of(seen.revision or {})
    again = f"kubectl -n {namespace} delete revisions.serving.knative.dev {name}"
    if found is None:
        return Diagnosis(
            "controller",
            f"the revision {name} did not become ready within its progress deadline, and Knative has stopped trying",
            "raise scale.start_timeout_s in eaves.yaml if the function starts slowly; kubectl -n "
            f"{namespace} get events shows for an hour why; this command makes Knative try again: {again}",
            final=True,
        )
    message = f"{found.message}; Knative has stopped trying to start the revision {name}"
    return replace(found, final=True, message=message, fix=f"{found.fix}; then make Knative try again: {again}")
