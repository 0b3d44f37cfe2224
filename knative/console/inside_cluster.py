"""A connection to the cluster from one of its pods, which asks other pods at their own addresses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from eaves.errors import AbsentError, ClusterError, DeliveryError
from eaves.http_client.client import HttpAnswer, HttpClient
from eaves.http_client.explain import explain
from knative.client.api_errors import ApiCall
from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.client.kubeconfig import connect_inside, inside_namespace
from knative.client.transport import ApiTransport

MAX_BYTES = 4_000_000
"""Maximum size of a pod's answer, bytes; a report on a queue has some kilobytes."""


class InsideCluster(Cluster):
    """A connection that reaches pods at their addresses, so that it needs no right to forward ports.

    Any program in a pod can do this, unless a NetworkPolicy forbids it. The policies of Eaves admit every pod of the
    cluster to the metrics and health of relays and publishers, and agents have no policy. A function's policy admits
    Serving only, so the reason of a function that doesn't start is then read from its log.
    """

    _pods = HttpClient(connections=0)

    def ask_pod(
        self,
        pod: str,
        port: int,
        path: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout_s: float = 30.0,
        namespace: str | None = None,
    ) -> HttpAnswer:
        """Send a GET to a pod at its address.

        Raises:
            AbsentError: When there is no such pod.
            ClusterError: When the pod has no address yet, or doesn't answer.
        """
        found = self.get(POD, pod, namespace=namespace)
        if found is None:
            raise AbsentError(f"there is no pod {pod}", hint="eaves status --on knative")
        address = str(found.get("status", {}).get("podIP") or "")
        if not address:
            raise ClusterError(f"the pod {pod} has no address yet")
        host = f"[{address}]" if ":" in address else address
        try:
            return self._pods.request(
                "GET", f"http://{host}:{port}{path}", headers=headers, timeout_s=timeout_s, max_bytes=MAX_BYTES
            )
        except DeliveryError as error:
            reason = explain(error).reason
            raise ClusterError(f"the pod {pod} doesn't answer at {address} port {port}: {reason}") from error


def open_inside(*, timeout_s: float = 10.0) -> InsideCluster:
    """Open the cluster that this process runs in, with the service account of its pod.

    Args:
        timeout_s: Maximum seconds for a call.

    Raises:
        ConfigError: When no service account is mounted.
    """
    transport = ApiTransport(ApiCall(context="", server=""), connect_inside, timeout_s=timeout_s)
    return InsideCluster("in-cluster", inside_namespace(), transport)
