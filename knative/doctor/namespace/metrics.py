"""Check whether rollouts can read metrics, by a port-forward to one pod of the app.

The connection ends inside the pod. So it also proves that the pod's node accepts port-forwards, which the user's
permissions alone don't show.
"""

from __future__ import annotations

from collections.abc import Iterator

from eaves.errors import ClusterError
from knative.client.kinds import POD
from knative.client.port_forward import ForwardDeniedError, NoForwardError
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, note, ok, warning
from knative.doctor.namespace.permissions import grant
from knative.resources import publisher, relay
from knative.resources.agent import PART
from knative.resources.metadata import APP_LABEL, PART_LABEL
from knative.resources.server import METRICS_PORT

CHECK = "metrics"
FUNCTION_PORT = 8080
TIMEOUT_S = 5.0
_OTHER_WAY = (
    "metrics are read through the API server's pod proxy instead. If the network enforces NetworkPolicies, the "
    "proxy can't reach pods on other nodes, and an automatic rollout is held"
)


def check_metrics(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that the metrics of one running pod can be read.

    It is a pod of the function, or else of an agent, a publisher or the relay.
    """
    found = next(_running(subject), None)
    if found is None:
        yield note(CHECK, f"no pod of {subject.app.function.name} is running yet, so reading metrics can't be checked")
        return
    pod, port = found
    try:
        answer = subject.cluster.forward(pod, port, "/metrics", timeout_s=TIMEOUT_S, namespace=subject.namespace)
    except ForwardDeniedError as denied:
        yield warning(
            CHECK,
            f"{denied.message}: {_OTHER_WAY}",
            grant("status", subject.namespace, ("get", "create"), ["pods/portforward"]),
        )
    except NoForwardError as swallowed:
        fix = (
            f"allow WebSockets to the API server of {subject.cluster.name} in the proxy between; kubectl "
            "port-forward needs them too"
        )
        yield warning(CHECK, f"{swallowed.message}: {_OTHER_WAY}", fix)
    except ClusterError as failed:
        yield warning(
            CHECK, f"the metrics of {pod} can't be read: {failed.message}", failed.hint or "eaves status --on knative"
        )
    else:
        if answer.status == 200:
            yield ok(CHECK, f"the metrics of {pod} can be read by port-forward")
        else:
            fix = f"kubectl -n {subject.namespace} logs {pod}"
            yield warning(CHECK, f"{pod} answered {answer.status} to a request for its metrics", fix)


def _running(subject: ExaminedSite) -> Iterator[tuple[str, int]]:
    """Yield the name of each running pod of the app, with the port of its metrics."""
    name = subject.app.function.name
    for selector, port in (
        (f"serving.knative.dev/service={name}", FUNCTION_PORT),
        (f"{APP_LABEL}={name},{PART_LABEL} in ({PART},{publisher.PART},{relay.PART})", METRICS_PORT),
    ):
        for pod in subject.cluster.list(POD, namespace=subject.namespace, selector=selector):
            ending = pod["metadata"].get("deletionTimestamp")
            if pod.get("status", {}).get("phase") == "Running" and not ending:
                yield str(pod["metadata"]["name"]), port
