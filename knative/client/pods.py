"""Pods of a cluster, reached through its API server: logs of their containers, and requests to their ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError
from eaves.http_client.client import HttpAnswer
from knative.client.api_errors import ApiCall, build_api_error, parse_status
from knative.client.kinds import POD
from knative.client.port_forward import forward
from knative.client.transport import ApiRequest, ApiTransport

Lines = list[str]


class Pods:
    """Logs of pods and requests to pods and Services, as one user of an API server; the base class of `Cluster`.

    Args:
        name: Context of the kubeconfig.
        namespace: Default namespace of calls.
        transport: Transport to the cluster's API server.
    """

    def __init__(self, name: str, namespace: str, transport: ApiTransport) -> None:
        self.name, self.namespace = name, namespace
        self._transport = transport

    def logs(
        self,
        pod: str,
        *,
        container: str = "",
        lines: int = 100,
        previous: bool = False,
        namespace: str | None = None,
    ) -> Lines:
        """Read the last lines that a container wrote.

        Raises:
            InvalidError: When the container hasn't started, or `previous` is set and the container has not been
                restarted.
            ClusterError: When the log can't be read.
        """
        query = {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
        return self._read_log(pod, container, query, namespace).splitlines()

    def log_after(self, pod: str, moment: str, *, container: str = "") -> list[tuple[str, str]]:
        """Read what a container wrote after a moment, each line with its own moment; every line after an empty one.

        Raises:
            InvalidError: When the container hasn't started.
            ClusterError: When the log can't be read.
        """
        since = {"sinceTime": re.sub(r"\.\d+", "", moment)} if moment else {}  # the API server reads whole seconds
        text = self._read_log(pod, container, {"timestamps": "true"} | since, None)
        found = (line.partition(" ") for line in text.split("\n") if line)
        return [(written, line) for written, _, line in found if written > moment]

    def _read_log(self, pod: str, container: str, query: Mapping[str, str], namespace: str | None) -> str:
        space = self.namespace if namespace is None else namespace
        call = self._common(verb="get", resource="pods", subresource="log", name=pod, namespace=space)
        chosen = {**query, **({"container": container} if container else {})}
        answer = self._transport.send(ApiRequest(call=call, path=f"{POD.path(space, pod)}/log", query=chosen))
        if answer.status != 200:
            raise build_api_error(answer.status, answer.body, call)
        return answer.body.decode("utf-8", "replace")

    def proxy(
        self,
        target: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = MappingProxyType({}),
        body: bytes = b"",
        timeout_s: float = 30.0,
        namespace: str | None = None,
    ) -> HttpAnswer:
        """Send a request through the API server to a pod or Service; return its answer of any status.

        Args:
            target: `pods/NAME:8080` or `services/NAME:80`.
            path: Path at the target, with its query.
            method: HTTP method.
            headers: Headers of the request; a Host header is passed on.
            body: Body of the request.
            timeout_s: Maximum seconds for the request and its answer.
            namespace: Namespace of the target; None means the cluster's default.

        Raises:
            ClusterError: When the API server refuses, or the target doesn't answer.
        """
        plural, _, name = target.partition("/")
        space = self.namespace if namespace is None else namespace
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "get")
        call = self._common(verb=verb, resource=plural, subresource="proxy", name=name, namespace=space)
        route, _, query = path.partition("?")
        request = ApiRequest(
            call=call,
            method=method,
            path=f"/api/v1/namespaces/{space}/{plural}/{name}/proxy/{route.removeprefix('/')}",
            query=query,
            headers=headers,
            body=body or None,
        )
        answer = self._transport.send_once(request, timeout_s)
        if answer.status >= 400 and parse_status(answer.body) is not None:  # the answer is the API server's own
            raise _not_proxied(call, answer)
        return answer

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
        """Send a GET to a port of a pod by port-forward, to which no NetworkPolicy applies; return the answer.

        Args:
            pod: Name of the pod.
            port: TCP port of the pod.
            path: Path of the request, with its query.
            headers: Headers of the request.
            timeout_s: Maximum seconds for the request and its answer.
            namespace: Namespace of the pod; None means the cluster's default.

        Raises:
            DeniedError: When the current user lacks the right: `get` and `create` on pods/portforward.
            AbsentError: When there is no such pod.
            ClusterError: When the API server isn't reached, or nothing answers at that port.
        """
        space = self.namespace if namespace is None else namespace
        route, _, query = path.partition("?")
        call = self._common(verb="create", resource="pods", subresource="portforward", name=pod, namespace=space)
        request = ApiRequest(call=call, path=route, query=query, headers=headers)
        return forward(self._transport, POD.path(space, pod), port, request, timeout_s)

    def _common(self, **values: str) -> ApiCall:
        return replace(self._transport.call, **values)


def _not_proxied(call: ApiCall, answer: HttpAnswer) -> ClusterError:
    if answer.status < 500:
        return build_api_error(answer.status, answer.body, call)
    answer_text = shorten(str((parse_status(answer.body) or {}).get("message")))
    see = call.kubectl("get pods,endpointslices", namespaced=True)
    return ClusterError(
        f"{call.where}: {call.what} does not answer: {answer_text}", hint=f"this command shows what runs: {see}"
    )
