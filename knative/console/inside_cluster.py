"""A connection to the cluster from one of its pods, which asks other pods at their own addresses."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from types import MappingProxyType

from eaves.delivery.client import HttpAnswer
from eaves.errors import AbsentError, ClusterError
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
        began = time.monotonic()
        connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ClusterError(f"the pod {pod} doesn't answer at {address} port {port}: {reason}") from error
        finally:
            connection.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        latency_ms = (time.monotonic() - began) * 1000
        return HttpAnswer(status=answer.status, headers=names, body=body, latency_ms=latency_ms)


def open_inside(*, timeout_s: float = 10.0) -> InsideCluster:
    """Open the cluster that this process runs in, with the service account of its pod.

    Args:
        timeout_s: Maximum seconds for a call.

    Raises:
        ConfigError: When no service account is mounted.
    """
    transport = ApiTransport(ApiCall(context="", server=""), connect_inside, timeout_s=timeout_s)
    return InsideCluster("in-cluster", inside_namespace(), transport)
