"""A simulated cluster: what its API server answers to one request, on good days and on bad ones."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes import portforward
from tests.fakes.kubernetes.kubeconfig import write_kubeconfig
from tests.fakes.kubernetes.objects import RESOURCES, Manifest, Objects, Refused, Resource, resource_of
from tests.fakes.kubernetes.selectors import matches_fields, matches_labels
from tests.fakes.kubernetes.wire import Reply, Request, refusal, reply_json

__all__ = ["FakeCluster", "Reply", "Request", "refusal", "reply_json"]

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+)(?P<rest>/.*)?)?)?/?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class FakeCluster:
    """One cluster; change its fields to change what it does.

    Attributes:
        name: Name of the cluster's context.
        url: URL of the API server.
        objects: What it has.
        log: Every request that came in.
        fault: Asked first, with every request; what it returns is answered.
        tokens: That are valid; None: every request is let in.
        denied: (verb, resource) that nobody may: ("patch", "services.serving.knative.dev"), ("get", "pods/log").
        granted: Whether a verb on a resource in a namespace is granted, with a name or without one.
        admit: A webhook: why it refuses an object, or "".
        unserved: apiVersions it doesn't have.
        backend: Answers what goes through the proxy or a port-forward; None: nothing is behind it.
        delay_s: Before every answer.
        hangs: Takes requests and never answers.
        skew_s: What its clock is ahead of ours.
        version: Version of Kubernetes.
    """

    def __init__(self, name: str = "edge") -> None:
        self.name, self.url = name, ""
        self.objects = Objects()
        self.log: list[Request] = []
        self.fault: Callable[[Request], Reply | None] = lambda request: None
        self.tokens: set[str] | None = None
        self.denied: set[tuple[str, str]] = set()
        self.granted: Callable[[str, str, str, str], bool] = lambda verb, resource, namespace, name: True
        self.admit: Callable[[Manifest], str] = lambda manifest: ""
        self.unserved: set[str] = set()
        self.backend: Callable[[Request], Reply] | None = None
        self.delay_s = self.skew_s = 0.0
        self.hangs = False
        self.version = "v1.36.2"
        self.closing = threading.Event()
        self._logs: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        self._hooks: list[Callable[[Manifest], object]] = []

    # What tests do to it.

    def kubeconfig(
        self,
        path: Path,
        *,
        namespace: str = "default",
        contexts: Sequence[str] = (),
        user: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a kubeconfig for it, the first context being the current one; the namespace is made."""
        self.objects.make_namespace(namespace)
        return write_kubeconfig(path, dict.fromkeys(contexts or [self.name], self.url), namespace=namespace, user=user)

    def put(self, manifest: Mapping[str, Any], *, manager: str = "kubectl", namespace: str = "default") -> Manifest:
        """Create or replace an object, and make its namespace, as some other client would."""
        resource = resource_of(manifest)
        namespace = manifest["metadata"].get("namespace", namespace)
        self.objects.make_namespace(namespace)
        written = self.objects.write(resource, namespace, manifest, manager=manager)
        if "status" in manifest:
            written = self.objects.write(
                resource, namespace, {**written, "status": manifest["status"]}, manager=manager, subresource="status"
            )
        return written

    def status(self, kind: str, name: str, status: Mapping[str, Any], *, namespace: str = "default") -> Manifest:
        """Set an object's status, as its controller would. `kind`: `Pod`, or `serving.knative.dev/v1/Service`."""
        with self.objects.changed:
            value = {**self.get(kind, name, namespace=namespace), "status": dict(status)}
            return self.objects.write(_kind(kind), namespace, value, manager="controller", subresource="status")

    def get(self, kind: str, name: str, *, namespace: str = "default") -> Manifest:
        """An object as it is; `Refused` when it isn't there."""
        return self.objects.find(_kind(kind), namespace, name)

    def all(self, kind: str, *, namespace: str = "") -> list[Manifest]:
        """The objects of a kind."""
        return self.objects.listed(_kind(kind), namespace)

    def remove(self, kind: str, name: str, *, namespace: str = "default") -> None:
        """Delete an object and what it owns."""
        self.objects.remove(_kind(kind), namespace, name)

    def on_apply(self, hook: Callable[[Manifest], object]) -> None:
        """Call `hook` with every object whose spec a client makes or changes: it plays the controllers."""
        self._hooks.append(hook)

    def fail(self, reply: Reply, *, times: int = 1, method: str = "", path: str = "") -> None:
        """Answer the next requests of that method, with that in their path, with `reply`."""
        left = [times]

        def fault(request: Request) -> Reply | None:
            if left[0] and method in {"", request.method} and path in request.path:
                left[0] -= 1
                return reply
            return None

        self.fault = fault

    def write_log(self, pod: str, *lines: str, container: str = "", namespace: str = "default") -> None:
        """Let a container write lines; the container `NAME:previous` is the one before."""
        kept = self._logs.setdefault((namespace, pod, container), [])
        for text in lines:
            now = max(time.time_ns(), time.time_ns() + len(kept))
            second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
            kept.append((f"{second}.{now % 10**9:09d}Z", text))

    def asked(self, method: str, path: str = "", **query: str) -> list[Request]:
        """The requests of that method, with that in their path and query."""
        wanted = query.items()
        return [one for one in self.log if one.method == method and path in one.path and wanted <= one.query.items()]

    # What it answers.

    def answer(self, request: Request) -> Reply:
        """What this request gets."""
        self.log.append(request)
        reported = self.fault(request)
        if reported is not None:
            return reported
        try:
            reply = self._answer(request)
        except Refused as error:
            reply = reply_json(error.status, error.code)
        return replace(reply, delay_s=reply.delay_s or self.delay_s)

    def _answer(self, request: Request) -> Reply:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if self.tokens is not None and (kind.lower() != "bearer" or token not in self.tokens):
            raise Refused(401, "Unauthorized", "Unauthorized")
        if request.path == "/version":
            return reply_json({"gitVersion": self.version, "major": "1", "minor": "36"})
        served = [one for one in RESOURCES if one.api_version not in self.unserved]
        if request.path.removeprefix("/apis/").removeprefix("/api/") in {one.api_version for one in served}:
            return reply_json({"kind": "APIResourceList", "resources": []})
        if request.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return reply_json(self._review(request.json), 201)
        match = _PATH.fullmatch(request.path)
        parts: dict[str, Any] = match.groupdict() if match else {}
        api_version = "/".join(part for part in (parts.get("group"), parts.get("version")) if part)
        found = [one for one in served if (one.api_version, one.plural) == (api_version, parts.get("plural"))]
        if not found:
            return Reply(status=404, headers={"Content-Type": "text/plain"}, body=b"404 page not found\n")
        resource, space, name, sub = found[0], parts["namespace"] or "", parts["name"] or "", parts["sub"] or ""
        self._authorize(request, resource, space, name, sub)
        if sub in {"portforward", "proxy", "log"}:
            return self._connected(request, resource, space, name, sub, parts["rest"] or "/")
        if request.method == "GET":
            return self._read(request.query, resource, space, name)
        return self._change(request, resource, space, name)

    def _review(self, review: Manifest) -> Manifest:
        asked = review["spec"]["resourceAttributes"]
        full = asked["resource"] + (f".{asked['group']}" if asked.get("group") else "")
        full += f"/{asked['subresource']}" if asked.get("subresource") else ""
        allowed = self._may(asked["verb"], full, asked.get("namespace", ""), asked.get("name", ""))
        return {**review, "status": {"allowed": allowed}}

    def _may(self, verb: str, resource: str, space: str, name: str) -> bool:
        return (verb, resource) not in self.denied and self.granted(verb, resource, space, name)

    def _authorize(self, request: Request, resource: Resource, space: str, name: str, sub: str) -> None:
        verb = _VERBS.get(request.method, "get")
        if not name and request.method == "GET":
            verb = "list"
        self._require(verb, resource, space, name, sub)

    def _require(self, verb: str, resource: Resource, space: str, name: str, sub: str = "") -> None:
        tail = f"/{sub}" if sub else ""
        if self._may(verb, resource.full + tail, space, name):
            return
        what = f'{resource.full} "{name}"' if name else resource.full
        where = f'in the namespace "{space}"' if space else "at the cluster scope"
        message = f'{what} is forbidden: User "jane" cannot {verb} resource "{resource.plural}{tail}" in API group '
        details = {"name": name, "group": resource.group, "kind": resource.plural}
        raise Refused(403, "Forbidden", f'{message}"{resource.group}" {where}', details)

    def _read(self, query: Mapping[str, str], resource: Resource, space: str, name: str) -> Reply:
        if name:
            return reply_json(self.objects.find(resource, space, name))
        with self.objects.changed:
            listed = self.objects.listed(resource, space)
            version = self.objects.version
        selector, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        items = [one for one in listed if matches_labels(one["metadata"].get("labels", {}), selector)]
        items = [one for one in items if matches_fields(one, fields)]
        if not resource.group.endswith("knative.dev"):  # lists of Kubernetes' own kinds say it once, for all
            items = [{key: value for key, value in one.items() if key not in {"kind", "apiVersion"}} for one in items]
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return reply_json({**head, "metadata": {"resourceVersion": str(version)}, "items": items})

    def _read_log(self, query: Mapping[str, str], resource: Resource, space: str, name: str) -> Reply:
        self.objects.find(resource, space, name)
        container = query.get("container", "")
        key = (space, name, f"{container}:previous" if query.get("previous") == "true" else container)
        if query.get("previous") == "true" and key not in self._logs:
            message = f'previous terminated container "{container}" in pod "{name}" not found'
            raise Refused(400, "BadRequest", message)
        since, tail = query.get("sinceTime", "").removesuffix("Z"), int(query.get("tailLines", "0"))
        lines = [one for one in self._logs.get(key, []) if one[0] >= since][-tail:]
        stamps = query.get("timestamps") == "true"
        text = "".join(f"{moment} {text}\n" if stamps else f"{text}\n" for moment, text in lines)
        return Reply(headers={"Content-Type": "text/plain"}, body=text.encode())

    def _connected(self, request: Request, resource: Resource, space: str, name: str, sub: str, rest: str) -> Reply:
        """What a pod or Service says itself."""
        if sub == "portforward":
            return self._forwarded(request, resource, space, name)
        if sub == "proxy":
            return self._proxied(request, resource, space, name, rest)
        return self._read_log(request.query, resource, space, name)

    def _forwarded(self, request: Request, resource: Resource, space: str, name: str) -> Reply:
        """A GET that also asks for the right to create. Source: Kubernetes 1.36, watched."""
        if not self._may("create", f"{resource.full}/portforward", space, name):
            raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: ')
        self.objects.find(resource, space, name)
        if not portforward.is_upgrade(request):
            raise Refused(400, "BadRequest", "Upgrade request required")
        return Reply(status=101)

    def _proxied(self, request: Request, resource: Resource, space: str, name: str, path: str) -> Reply:
        alone = name.split(":")[1] if name.count(":") == 2 else name.partition(":")[0]
        self.objects.find(resource, space, alone)
        if self.backend is None and resource.plural == "services":
            raise Refused(503, "ServiceUnavailable", f'no endpoints available for service "{alone}"')
        if self.backend is None:
            said = "error trying to reach service: dial tcp 10.42.0.7:8080: connect: connection refused"
            raise Refused(503, "ServiceUnavailable", said)
        return self.backend(replace(request, path=path, target=f"{resource.plural}/{name}"))

    def _change(self, request: Request, resource: Resource, space: str, name: str) -> Reply:
        if request.method == "DELETE":
            return self._delete(request, resource, space, name)
        query, new = request.query, request.json
        manager, dry_run = query["fieldManager"], query.get("dryRun") == "All"
        before = self.objects.generation(resource, space, name)
        if request.headers["Content-Type"] == "application/apply-patch+yaml":
            if before is None:  # Source: k8s.io/apiserver, pkg/endpoints/handlers/patch.go (withAuthorization)
                self._require("create", resource, space, name)
            force = query.get("force") == "true"
            written = self.objects.apply(
                resource, space, new, manager=manager, force=force, dry_run=dry_run, admit=self._admit
            )
        else:
            new = _merge_patch(self.objects.find(resource, space, name), new)
            written = self.objects.write(resource, space, new, manager=manager, admit=self._admit)
        # Knative looks at a SinkBinding at every change of it, also one that makes no new generation.
        seen = resource.kind == "SinkBinding" and "touched" in str(new["metadata"].get("annotations"))
        if not dry_run and (written["metadata"]["generation"] != before or seen):
            for hook in self._hooks:
                hook(written)
            written = self.objects.find(resource, space, written["metadata"]["name"])
        return reply_json(written, 201 if before is None else 200)

    def _delete(self, request: Request, resource: Resource, space: str, name: str) -> Reply:
        options = {**request.query, **request.json}
        dry_run = options.get("dryRun") in ("All", ["All"])
        required = options.get("preconditions", {})
        gone = self.objects.remove(resource, space, name, dry_run=dry_run, required=required)
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": gone["metadata"]["uid"]}
        return reply_json({"kind": "Status", "apiVersion": "v1", "status": "Success", "details": details})

    def _admit(self, manifest: Manifest) -> None:
        if said := self.admit(manifest):
            webhook = "validation.webhook.serving.knative.dev"
            raise Refused(400, "BadRequest", f'admission webhook "{webhook}" denied the request: {said}')


def _kind(text: str) -> Resource:
    """Return the resource named `Pod` or `GROUP/VERSION/Kind`; a Knative Service needs its group."""
    api_version, _, kind = text.rpartition("/")
    return next(one for one in RESOURCES if one.kind == kind and api_version in {"", one.api_version})


def _merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, child in patch.items():
        if child is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_patch(merged.get(key), child)
    return merged
