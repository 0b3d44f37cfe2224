"""Pods of a cluster, through its API server: what their containers write, and requests to their ports."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from eaves.delivery.client import HttpAnswer
from eaves.delivery.response_rules import shorten
from eaves.errors import AbsentError, ClusterError
from knative.client.api_errors import ApiCall, build_api_error, parse_status
from knative.client.kinds import POD
from knative.client.port_forward import ForwardDeniedError, NoForwardError, forward
from knative.client.transport import ApiRequest, ApiResponse, ApiTransport, Deadline, retry_after_s
from knative.client.watch import follow_log

_log = logging.getLogger(__name__)

Lines = list[str]


class Pods:
    """Logs of pods and requests to pods and Services, for one user of an API server; the base class of `Cluster`.

    Args:
        name: The kube context.
        namespace: Default namespace of calls.
        transport: To its API server.
    """

    def __init__(self, name: str, namespace: str, transport: ApiTransport) -> None:
        self.name, self.namespace = name, namespace
        self._transport = transport
        self._no_forward: dict[str, ClusterError] = {}  # by namespace; "": in all of them

    def logs(
        self,
        pod: str,
        *,
        container: str = "",
        lines: int = 100,
        previous: bool = False,
        namespace: str | None = None,
    ) -> Lines:
        """The last lines that a container wrote.

        Raises:
            InvalidError: When it hasn't started, or there was none before it.
            ClusterError: When they can't be read.
        """
        call, path = self._log(pod, namespace)
        query = {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
        answer = self._transport.send(ApiRequest(call=call, path=path, query=query | _container(container)))
        if answer.status != 200:
            raise build_api_error(answer.status, answer.body, call, wait_s=retry_after_s(answer))
        return answer.body.decode("utf-8", "replace").splitlines()

    def follow_logs(
        self,
        pod: str,
        *,
        container: str = "",
        since_s: int | None = None,
        timeout_s: float,
        namespace: str | None = None,
    ) -> Iterator[str]:
        """What a container writes, line by line, until it ends or time is over; goes on where a connection broke.

        Raises:
            ClusterError: When it can't be read.
        """
        call, path = self._log(pod, namespace)
        start = {"sinceSeconds": str(since_s)} if since_s is not None else {}

        def streaming(resumed: dict[str, str], left_s: float) -> Iterator[bytes]:
            query = {"follow": "true", "timestamps": "true"} | _container(container) | (resumed or start)
            return self._transport.stream(ApiRequest(call=call, path=path, query=query), left_s)

        return follow_log(streaming, timeout_s=timeout_s)

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
        """A request through the API server to a pod or Service, and its answer, whatever its status.

        Args:
            target: `pods/NAME:8080` or `services/NAME:80`.
            path: At the target, with its query.
            method: HTTP's.
            headers: A Host among them is passed on.
            body: Of the request.
            timeout_s: For the exchange.
            namespace: Of the target.

        Raises:
            ClusterError: When the API server refuses, or nothing answers it at the target.
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
        answer = self._transport.send_once(request, Deadline(timeout_s))
        if answer.status >= 400 and parse_status(answer.body) is not None:  # the API server's own word
            raise _not_proxied(call, answer)
        return _http(answer)

    def forward(
        self,
        pod: str,
        port: int,
        path: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout_s: float = 30.0,
        namespace: str | None = None,
    ) -> HttpAnswer:
        """A GET to a port of a pod by port-forward, in which no NetworkPolicy has a say, and its answer.

        Args:
            pod: Name of the pod.
            port: TCP port of the pod.
            path: Path of the request, with its query.
            headers: Headers of the request.
            timeout_s: Seconds for the whole exchange.
            namespace: Namespace of the pod; None: the cluster's default.

        Raises:
            ForwardDeniedError: When the current user may not: it takes `get` and `create` on pods/portforward.
            AbsentError: When there is no such pod.
            NoForwardError: When something on the way to the API server takes no WebSockets.
            ClusterError: When the API server isn't reached, or nothing answers at that port.
        """
        space = self.namespace if namespace is None else namespace
        route, _, query = path.partition("?")
        call = self._common(verb="create", resource="pods", subresource="portforward", name=pod, namespace=space)
        request = ApiRequest(call=call, path=route, query=query, headers=headers)
        return _http(forward(self._transport, POD.path(space, pod), port, request, Deadline(timeout_s)))

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
        """What `forward` brings, or the API server's pod proxy where ports can't be forwarded.

        Policies and firewalls may keep the pod proxy out. Which way is open is found once a namespace, and a closed one
        is logged.

        Raises:
            AbsentError: When there is no such pod.
            ClusterError: When neither way leads to the pod.
        """
        space = self.namespace if namespace is None else namespace
        denied = self._no_forward.get(space) or self._no_forward.get("")
        if denied is None:
            try:
                return self.forward(pod, port, path, headers=headers, timeout_s=timeout_s, namespace=namespace)
            except (ForwardDeniedError, NoForwardError) as error:
                denied = error  # a right is one namespace's, a way to the API server all of them go
                self._no_forward[space if isinstance(error, ForwardDeniedError) else ""] = error
                _log.warning("%s; pods are asked through the API server's pod proxy instead", error.message)
        try:
            return self.proxy(f"pods/{pod}:{port}", path, headers=headers, timeout_s=timeout_s, namespace=namespace)
        except AbsentError:
            raise
        except ClusterError as error:
            hint = denied.hint or error.hint
            raise type(error)(f"{error.message}; by port-forward: {denied.message}", hint=hint) from error

    def _log(self, pod: str, namespace: str | None) -> tuple[ApiCall, str]:
        space = self.namespace if namespace is None else namespace
        call = self._common(verb="get", resource="pods", subresource="log", name=pod, namespace=space)
        return call, f"{POD.path(space, pod)}/log"

    def _common(self, **values: str) -> ApiCall:
        return replace(self._transport.call, **values)


def _http(answer: ApiResponse) -> HttpAnswer:
    return HttpAnswer(status=answer.status, headers=answer.headers, body=answer.body, latency_ms=answer.latency_ms)


def _not_proxied(call: ApiCall, answer: ApiResponse) -> ClusterError:
    if answer.status < 500:
        return build_api_error(answer.status, answer.body, call)
    said = shorten(str((parse_status(answer.body) or {}).get("message")))
    see = call.kubectl("get pods,endpointslices", namespaced=True)
    return ClusterError(f"{call.where}: nothing answers at {call.what}: {said}", hint=f"see what runs: {see}")


def _container(name: str) -> dict[str, str]:
    return {"container": name} if name else {}
