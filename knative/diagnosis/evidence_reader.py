"""Reader of the objects, Events and logs that a diagnosis is made from.

It makes few requests, and repeats none that was denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from eaves.errors import ClusterError, DeniedError, NotFoundError
from eaves.web.problem_document import find_kind, parse_problem
from knative.client.kinds import DEPLOYMENT, EVENT, KSERVICE, POD, REPLICA_SET, REVISION
from knative.diagnosis.crashes import ended_state
from knative.diagnosis.diagnosis import is_ready
from knative.diagnosis.evidence import SIDECAR, FunctionEvidence, Object, condition, containers, is_alive, name_of

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

REVISION_LABEL = "serving.knative.dev/revision"
READINESS_PATH = "/health/readiness"
_PORT = 8080
_LOG_LINES = 20
_PROBE_TIMEOUT_S = 5.0
_MOST_PODS = 3
"""Maximum number of pods whose details are read; the other pods of the same Revision fail in the same way."""
T = TypeVar("T")


def collect_evidence(
    cluster: Cluster, name: str, *, service: Object | None = None, now: float = 0.0
) -> FunctionEvidence:
    """Read the objects that show why a Knative Service isn't ready.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Service, in the cluster's namespace.
        service: The Service if it was read already.
        now: The API server's clock, Unix seconds; 0 when it isn't known.

    Raises:
        NotFoundError: When there is no such Service.
        ClusterError: When a request to the cluster fails; objects that the user may not read are left out.
    """
    return EvidenceReader(cluster).collect(name, service=service, now=now)


class EvidenceReader:
    """Reader of evidence for many diagnoses. It remembers which reads were denied, and doesn't repeat them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._denied: set[str] = set()

    def collect(self, name: str, *, service: Object | None = None, now: float = 0.0) -> FunctionEvidence:
        """Read what is needed to diagnose a function: its Service, and its revision and pods while it isn't ready.

        Raises:
            NotFoundError: When there is no such Service.
            ClusterError: When a request to the cluster fails.
        """
        service = service or self._cluster.get(KSERVICE, name)
        if service is None:
            message = f"the function {name!r} does not exist in {self._cluster.namespace}"
            raise NotFoundError(message, hint="eaves deploy IMAGE --on knative")
        created = str(service.get("status", {}).get("latestCreatedRevisionName", ""))
        if not created:
            return FunctionEvidence(service=service, now=now)
        pods = self._list(POD, created)
        if is_ready(service):
            return FunctionEvidence(service=service, pods=pods, now=now)
        revision = self._try("revision", lambda: self._cluster.get(REVISION, created), None)
        if condition(revision, "Ready").get("status") == "True":
            return FunctionEvidence(service=service, revision=revision, pods=pods, now=now)
        deployments = self._list(DEPLOYMENT, created)
        asked = [pod for pod in pods if is_alive(pod)][:_MOST_PODS]
        readiness = {name_of(pod): problem for pod in asked if (problem := self._ask(pod)) is not None}
        return FunctionEvidence(
            service=service,
            revision=revision,
            deployment=deployments[0] if deployments else None,
            replica_sets=[] if pods else self._list(REPLICA_SET, created),
            pods=pods,
            events=self._events(asked),
            readiness=readiness,
            logs={name_of(pod): lines for pod in asked if (lines := self._logs(pod, readiness))},
            now=now,
        )

    def read_pod_details(
        self, pods: Sequence[Object], namespace: str, owner: str = ""
    ) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
        """Read Events about pods that aren't ready, and the last log lines of pods whose process ended, by pod.

        Args:
            pods: Pods of a workload; only the first few are read, since the other pods fail the same way.
            namespace: Namespace of the pods.
            owner: Name of a workload without pods, whose Events are read; empty when there are pods.

        Raises:
            ClusterError: When a request to the cluster fails; objects that the user may not read are left out.
        """
        asked = [pod for pod in pods if is_alive(pod)][:_MOST_PODS]
        names = [name_of(pod) for pod in asked if _waits(pod)] or ([owner] if owner else [])
        events = [
            event for name in names for event in self._warnings(f"involvedObject.name={name}", namespace=namespace)
        ]
        return events, {name_of(pod): lines for pod in asked if (lines := self._logs(pod, {}, namespace=namespace))}

    def _list(self, kind: Any, revision: str) -> list[dict[str, Any]]:
        selector = f"{REVISION_LABEL}={revision}"
        return self._try(kind.plural, lambda: self._cluster.list(kind, selector=selector), [])

    def _events(self, pods: Sequence[Object]) -> list[dict[str, Any]]:
        """Read the Events about pods with a waiting container.

        When there are no pods, read all warnings of the namespace.
        """
        if pods and not any(_waits(pod) for pod in pods):
            return []
        names = [f"involvedObject.name={name_of(pod)}" for pod in pods if _waits(pod)] or ["type=Warning"]
        return [event for fields in names for event in self._warnings(fields)]

    def _warnings(self, fields: str, *, namespace: str | None = None) -> list[dict[str, Any]]:
        return self._try(
            f"events {namespace}", lambda: self._cluster.list(EVENT, fields=fields, namespace=namespace), []
        )

    def _ask(self, pod: Object) -> Mapping[str, Any] | None:
        """Return the problem document that a running function answers to a readiness request.

        Return None when the pod is ready, or when the function answers no problem document.
        """
        if not _runs_unready(pod):
            return None
        name = name_of(pod)
        answer = self._try(
            "proxy",
            lambda: self._cluster.ask_pod(name, _PORT, READINESS_PATH, timeout_s=_PROBE_TIMEOUT_S),
            None,
            failing=True,
        )
        if answer is None or answer.status < 400:
            return None
        # The API server answers with its own Status for a pod that it can't reach.
        problem = parse_problem(answer.body)
        return problem if find_kind(problem) else None

    def _logs(self, pod: Object, readiness: Mapping[str, Any], *, namespace: str | None = None) -> list[str]:
        """Return the last log lines of a pod's container that has ended, or that runs and doesn't answer the probe."""
        for status in _own(pod):
            looping = namespace is not None  # the caller reads a ready pod only if its container ends again and again
            ended = bool(ended_state(status)) and (looping or not status.get("ready"))
            if not ended and (not _runs_unready(pod) or name_of(pod) in readiness):
                continue
            previous = ended and not (status.get("state") or {}).get("terminated")
            return self._tail(name_of(pod), str(status.get("name", "")), previous=previous, namespace=namespace)
        return []

    def _tail(self, pod: str, container: str, *, previous: bool, namespace: str | None) -> list[str]:
        def read() -> list[str]:
            return self._cluster.logs(
                pod, container=container, lines=_LOG_LINES, previous=previous, namespace=namespace
            )

        return self._try(f"logs {namespace}", read, [], failing=True)

    def _try(self, what: str, read: Callable[[], T], otherwise: T, *, failing: bool = False) -> T:
        """Return the value that `read` returns.

        Return `otherwise` when the read is denied, or when `failing` is set and the read fails, as it may for a pod
        that ends.
        """
        if what in self._denied:
            return otherwise
        try:
            return read()
        except DeniedError:
            self._denied.add(what)
            return otherwise
        except ClusterError:
            if failing:
                return otherwise
            raise


def _own(pod: Object) -> Iterator[Object]:
    """Yield the status of each container of a pod except Knative's sidecar."""
    yield from (status for status in containers(pod) if status.get("name") != SIDECAR)


def _runs_unready(pod: Object) -> bool:
    """Return whether the function's process runs while its pod isn't ready.

    Knative's sidecar probes the function's readiness. The kubelet doesn't probe the function's container, so the status
    of that container is always ready. Source: Knative Serving, pkg/reconciler/revision/resources/deploy.go
    (makeContainer takes the probe away).
    """
    ready = condition(pod, "Ready").get("status") == "True"
    return not ready and any((status.get("state") or {}).get("running") for status in _own(pod))


def _waits(pod: Object) -> bool:
    return any((status.get("state") or {}).get("waiting") for status in containers(pod))
