"""A connection to a cluster: it reads, applies, deletes and watches objects, reads logs, and connects to pods.

The official client's DynamicClient is not used: it asks for the kinds with three requests for each API group, and
caches the answers in a temporary file by host and port, where another cluster may answer later. `knative.client.kinds`
holds the kinds instead.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError
from eaves.http_client.client import HttpAnswer
from eaves.http_client.headers import split_url
from knative.client.api_errors import ApiCall, build_api_error, parse_status
from knative.client.kinds import (
    POD,
    REVIEW,
    SERVICE,
    Manifest,
    Object,
    ObjectKind,
    kind_of,
    metadata_of,
    spec_of,
    status_of,
)
from knative.client.kubeconfig import connect_inside, find_context, inside_namespace
from knative.client.port_forward import forward
from knative.client.transport import ApiRequest, ApiTransport, parse_object

POLL_S = 0.5
"""Seconds between two reads of an object that is watched."""
_HEADERS = MappingProxyType({"Accept": "application/json", "Accept-Encoding": "gzip"})
_JSON, _APPLY, _MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"

Objects = list[Manifest]
C = TypeVar("C", bound="Cluster")
Lines = list[str]
TimedLines = list[tuple[str, str]]


class Cluster:
    """A connection to one API server as one user; it is safe to use from many threads, and every call has a time limit.

    Args:
        name: Context of the kubeconfig.
        namespace: Default namespace of calls.
        transport: Transport to the cluster's API server.
    """

    def __init__(self, name: str, namespace: str, transport: ApiTransport) -> None:
        self.name, self.namespace = name, namespace
        self._transport = transport

    def apply(self, manifest: Object, *, manager: str, force: bool = False, dry_run: bool = False) -> Manifest:
        """Create or change an object by server-side apply, so that it has what the manifest sets.

        Args:
            manifest: Fields that the manager wants; fields that it no longer sets are removed. With a
                metadata.resourceVersion, the call fails when the object has changed since.
            manager: Field manager.
            force: Take over fields of other managers.
            dry_run: Validate and answer, but change nothing.

        Returns:
            The object after the change.

        Raises:
            ConflictError: When other managers own fields of the object (the error's `causes` list them), or it has
                changed since.
            InvalidError: When the server or a webhook refuses the object.
            ClusterError: When it can't be applied for another reason.
        """
        kind, metadata = kind_of(manifest), manifest["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        query |= ({"force": "true"} if force else {}) | ({"dryRun": "All"} if dry_run else {})
        return self._patch(kind, metadata.get("namespace") or None, metadata["name"], manifest, query, _APPLY)

    def patch(self, kind: ObjectKind, name: str, change: Object, *, manager: str) -> Manifest:
        """Change some fields of an object that Eaves doesn't own; for objects of Eaves use `apply`.

        Source: RFC 7386, JSON Merge Patch.

        Args:
            kind: Kind of the object.
            name: Name of the object.
            change: New values of fields; None removes a field. With a metadata.resourceVersion, the call fails when the
                object has changed since.
            manager: Field manager.

        Returns:
            The object after the change.

        Raises:
            AbsentError: When there is no such object.
            ConflictError: When the object has changed since.
            ClusterError: When it can't be changed for another reason.
        """
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **change}
        return self._patch(kind, None, name, body, {"fieldManager": manager}, _MERGE)

    def _patch(
        self,
        kind: ObjectKind,
        namespace: str | None,
        name: str,
        body: Object,
        query: Mapping[str, str],
        media_type: str,
    ) -> Manifest:
        request = self._request(
            "patch",
            kind,
            namespace,
            name,
            method="PATCH",
            query=query,
            headers={**_HEADERS, "Content-Type": media_type},
            body=json.dumps(body).encode(),
            # with a version, a repetition is refused when the first attempt succeeded
            repeatable="resourceVersion" not in metadata_of(body),
        )
        return self._transport.json(request)

    def get(self, kind: ObjectKind, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Read an object; return None when it doesn't exist.

        Raises:
            ClusterError: When the object can't be read.
        """
        request = self._request("get", kind, namespace, name)
        answer = self._transport.send(request)
        return None if answer.status == 404 else parse_object(request.call, answer)

    def list(self, kind: ObjectKind, *, namespace: str | None = None, selector: str = "", fields: str = "") -> Objects:
        """List objects; the list is empty for a kind that the cluster doesn't have.

        Args:
            kind: Kind of the objects.
            namespace: Namespace of the objects; empty lists all namespaces, None means the cluster's default.
            selector: Label selector.
            fields: Field selector.

        Raises:
            ClusterError: When the objects can't be read.
        """
        query = ({"labelSelector": selector} if selector else {}) | ({"fieldSelector": fields} if fields else {})
        request = self._request("list", kind, namespace, query=query)
        answer = self._transport.send(request)
        if answer.status == 404:
            return []
        # The list of a kind of Kubernetes itself names the kind once, for all its items.
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [named | item for item in parse_object(request.call, answer).get("items") or []]

    def delete(
        self,
        kind: ObjectKind,
        name: str,
        *,
        namespace: str | None = None,
        uid: str = "",
        version: str = "",
    ) -> bool:
        """Delete an object and, in the background, the objects that it owns; return False when it didn't exist.

        Args:
            kind: Kind of the object.
            name: Name of the object.
            namespace: Namespace of the object; None means the cluster's default.
            uid: UID that the object must have; empty accepts any.
            version: resourceVersion that the object must have; empty accepts any.

        Raises:
            ConflictError: When the object of that name has another UID or resourceVersion.
            ClusterError: When the object can't be deleted.
        """
        required = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}
        # The server reads delete options from the query only when the request has no body.
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        options |= {"preconditions": required} if required else {}
        headers, body = {**_HEADERS, "Content-Type": _JSON}, json.dumps(options).encode()
        request = self._request("delete", kind, namespace, name, method="DELETE", headers=headers, body=body)
        answer = self._transport.send(request)
        return answer.status != 404 and bool(parse_object(request.call, answer))

    def watch(
        self, kind: ObjectKind, name: str, *, timeout_s: float, namespace: str | None = None
    ) -> Iterator[Manifest | None]:
        """Yield an object, and again when a read each half second shows a change; None when there is none (any longer).

        Raises:
            ClusterError: When the object can't be read.
        """
        deadline, version = time.monotonic() + timeout_s, "unknown"
        while True:
            found = self.get(kind, name, namespace=namespace)
            before, version = version, found["metadata"]["resourceVersion"] if found else ""
            if version != before:
                yield found
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(POLL_S, left_s))

    def send(
        self, url: str, *, method: str = "POST", headers: Mapping[str, str], body: bytes = b"", timeout_s: float = 30.0
    ) -> HttpAnswer:
        """Send a request through the API server to an address inside the cluster, `http://NAME.NAMESPACE.svc...`.

        The Service of a function is an alias (ExternalName) of the gateway's Service, and the gateway tells functions
        apart by the Host header.

        Raises:
            ClusterError: When the address isn't inside the cluster, or its Service doesn't exist or doesn't answer.
        """
        (scheme, host, port), _, path = split_url(url)
        name, namespace = _split(host)
        service = self.get(SERVICE, name, namespace=namespace)
        if service is None:
            message = f"{url} can't be reached: the Service {name} does not exist in {namespace}"
            raise ClusterError(message, hint="eaves doctor")
        if alias := str(spec_of(service).get("externalName", "")):
            name, namespace = _split(alias)
        target = f"services/{'https:' if scheme == 'https' else ''}{name}:{port}"
        sent = {**headers, "Host": host}
        return self.proxy(
            target, path, method=method, headers=sent, body=body, timeout_s=timeout_s, namespace=namespace
        )

    def allowed(
        self, verb: str, kind: ObjectKind, *, subresource: str = "", namespace: str | None = None, name: str = ""
    ) -> bool:
        """Return whether the current user may use a verb on objects of a kind, or on one (SelfSubjectAccessReview).

        Raises:
            ClusterError: When the server doesn't answer the question.
        """
        asked = {"verb": verb, "group": kind.group, "resource": kind.plural, "subresource": subresource, "name": name}
        if kind.namespaced:
            asked["namespace"] = self.namespace if namespace is None else namespace
        spec = {"resourceAttributes": asked}
        review = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "spec": spec}
        headers, body = {**_HEADERS, "Content-Type": _JSON}, json.dumps(review).encode()
        answer = self._transport.json(self._request("create", REVIEW, "", method="POST", headers=headers, body=body))
        return bool(status_of(answer).get("allowed"))

    def version(self, *, timeout_s: float | None = None) -> str:
        """Read the version of Kubernetes, such as `v1.36.2`, within the given seconds, or those of the connection.

        Raises:
            ClusterError: When the server doesn't return its version.
        """
        answer = self._read("/version", timeout_s=timeout_s)
        return str(parse_object(self._transport.call, answer).get("gitVersion", ""))

    def serves(self, api_version: str) -> bool:
        """Return whether the cluster has an API, such as `serving.knative.dev/v1`.

        Raises:
            ClusterError: When the server doesn't answer the question.
        """
        answer = self._read(f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}")
        return answer.status != 404 and bool(parse_object(self._transport.call, answer))

    def clock(self) -> float:
        """Read the API server's clock as Unix time, in whole seconds.

        Raises:
            ClusterError: When the server's answer has no date.
        """
        answer = self._read("/version")
        try:
            return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except ValueError as error:
            raise ClusterError(f"{self.name}: the API server's answer has no time (header Date)") from error

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

    def log_after(self, pod: str, moment: str, *, container: str = "") -> TimedLines:
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
        chosen = {**query, **({"container": container} if container else {})}
        request = self._request("get", POD, namespace, pod, subresource="log", headers={}, query=chosen)
        answer = self._transport.send(request)
        if answer.status != 200:
            raise build_api_error(answer.status, answer.body, request.call)
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
        kind = SERVICE if plural == SERVICE.plural else POD
        verb = "get" if method == "GET" else "create"
        route, _, query = path.partition("?")
        request = self._request(
            verb,
            kind,
            namespace,
            name,
            subresource="proxy",
            route=f"/{route.removeprefix('/')}",
            method=method,
            query=query,
            headers=headers,
            body=body or None,
        )
        answer = self._transport.send_once(request, timeout_s)
        if answer.status >= 400 and parse_status(answer.body) is not None:  # the answer is the API server's own
            raise _not_proxied(request.call, answer)
        return answer

    def ask_pod(
        self,
        pod: str,
        port: int,
        path: str,
        *,
        timeout_s: float = 30.0,
        namespace: str | None = None,
    ) -> HttpAnswer:
        """Send a GET to a port of a pod by port-forward, to which no NetworkPolicy applies; return the answer.

        Args:
            pod: Name of the pod.
            port: TCP port of the pod.
            path: Path of the request, with its query.
            timeout_s: Maximum seconds for the request and its answer.
            namespace: Namespace of the pod; None means the cluster's default.

        Raises:
            DeniedError: When the current user lacks the right: `get` and `create` on pods/portforward.
            AbsentError: When there is no such pod.
            ClusterError: When the API server isn't reached, or nothing answers at that port.
        """
        request = self._request("create", POD, namespace, pod, subresource="portforward", headers={})
        return forward(self._transport, request, port, path, timeout_s)

    def _read(self, path: str, *, timeout_s: float | None = None) -> HttpAnswer:
        request = ApiRequest(call=self._transport.call, path=path, headers=_HEADERS)
        return self._transport.send(request, timeout_s=timeout_s)

    def _request(
        self,
        verb: str,
        kind: ObjectKind,
        namespace: str | None,
        name: str = "",
        *,
        subresource: str = "",
        route: str = "",
        headers: Mapping[str, str] = _HEADERS,
        **more: Any,
    ) -> ApiRequest:
        """Build a request for objects of a kind; None as the namespace means the cluster's default.

        `route` is the path below the subresource, `more` are other attributes of the request.
        """
        space = self.namespace if namespace is None else namespace
        call = replace(
            self._transport.call,
            verb=verb,
            resource=kind.resource,
            subresource=subresource,
            name=name,
            namespace=space if kind.namespaced else "",
        )
        path = kind.path(space, name) + (f"/{subresource}{route}" if subresource else "")
        return ApiRequest(call=call, path=path, headers=headers, **more)


def _split(host: str) -> tuple[str, str]:
    """Return (name, namespace) of a Service from its host name."""
    labels = host.split(".")
    if len(labels) < 3 or labels[2] != "svc":
        raise ClusterError(f"{host} is not an address inside the cluster", hint="eaves doctor")
    return labels[0], labels[1]


def open_cluster(
    *, kubeconfig: Path | None = None, context: str = "", namespace: str = "", timeout_s: float = 30.0
) -> Cluster:
    """Open a cluster by a context of a kubeconfig. No request is made yet.

    Args:
        kubeconfig: The file, or several with `:` between them; None means kubectl's default, or the cluster that this
            process runs in.
        context: Name of the context; empty means the current one.
        namespace: Default namespace of calls; empty means the context's.
        timeout_s: Maximum seconds for a call.

    Raises:
        ConfigError: When there is no usable kubeconfig, or no such context.
        DeniedError: When the context's login plugin fails.
    """
    found = find_context(kubeconfig, context)
    if found is None:
        return open_inside(Cluster, namespace=namespace, timeout_s=timeout_s)
    transport = ApiTransport(ApiCall(context=found.name, server=""), found.connect, timeout_s=timeout_s)
    return Cluster(found.name, namespace or found.namespace, transport)


def open_inside(kind: type[C], *, namespace: str = "", timeout_s: float) -> C:
    """Open the cluster that this process runs in, with the service account of its pod.

    Args:
        kind: Class of the connection.
        namespace: Default namespace of calls; empty means the pod's.
        timeout_s: Maximum seconds for a call.

    Raises:
        ConfigError: When no service account is mounted.
    """
    transport = ApiTransport(ApiCall(context="", server=""), connect_inside, timeout_s=timeout_s)
    return kind("in-cluster", namespace or inside_namespace(), transport)


def _not_proxied(call: ApiCall, answer: HttpAnswer) -> ClusterError:
    if answer.status < 500:
        return build_api_error(answer.status, answer.body, call)
    answer_text = shorten(str((parse_status(answer.body) or {}).get("message")))
    see = call.kubectl("get pods,endpointslices", namespaced=True)
    return ClusterError(
        f"{call.where}: {call.what} does not answer: {answer_text}", hint=f"this command shows what runs: {see}"
    )
