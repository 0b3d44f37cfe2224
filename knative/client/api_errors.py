"""Errors for refused requests: the Status that an API server answers becomes an error of Eaves with its fix.

Source: metav1.Status in k8s.io/apimachinery; the meaning of each status: its pkg/api/errors; the wording of denials:
k8s.io/apiserver, pkg/endpoints/handlers/responsewriters/errors.go and pkg/admission/plugin/webhook/errors.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from eaves.delivery.response_rules import shorten
from eaves.errors import (
    AbsentError,
    ClusterError,
    ConflictError,
    DeniedError,
    InvalidError,
    UnreachableClusterError,
    UnreachableError,
)
from eaves.http_client.explain import CERTIFICATE, NAME, TLS, explain

MAX_MESSAGE = 1000
"""Maximum number of characters of an API server's message in an error; webhooks list every fault in one message."""

_MANAGER = re.compile(r'conflict with "([^"]*)"')
"""Name of the manager that owns a field: `conflict with "kn" using serving.knative.dev/v1 at 2026-11-24T14:42:56Z`."""
_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"/]+)(?:/(?P<sub>[^"]+))?"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)")?'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """Description of a request to an API server, from which error messages and their fixes are built.

    Attributes:
        context: Context of the kubeconfig; empty inside the cluster.
        server: URL of the API server.
        verb: Verb of RBAC: `get`, `list`, `watch`, `patch`, `create`, `delete`.
        resource: Resource with its group, such as `services.serving.knative.dev`; empty when the request has none.
        subresource: Subresource, such as `log`.
        name: Name of the object.
        namespace: Namespace of the object; empty for all namespaces, or for none.
    """

    context: str
    server: str
    verb: str = "get"
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""

    @property
    def where(self) -> str:
        """Name of the cluster; error messages begin with it."""
        return self.context or "this cluster"

    @property
    def what(self) -> str:
        """Name of the requested object or resource, for error messages."""
        named = " ".join(part for part in (self.resource, self.name) if part) or "the API server"
        return f"{named} in namespace {self.namespace}" if self.namespace else named

    def kubectl(self, text: str, *, namespaced: bool = False) -> str:
        """Build a kubectl command for the same cluster, ready to paste."""
        words = ["kubectl", *(["--context", self.context] if self.context else []), *shlex.split(text)]
        return shlex.join([*words, *(["-n", self.namespace] if namespaced and self.namespace else [])])


def parse_status(body: bytes) -> dict[str, Any] | None:
    """Parse the `Status` object that an API server sends with an error; return None when the body is something else."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    known = isinstance(value, dict) and value.get("kind") == "Status" and value.get("apiVersion") == "v1"
    return value if known else None


def build_api_error(code: int, body: bytes, call: ApiCall) -> ClusterError:
    """Build the error for an answer of an API server that isn't a success.

    Args:
        code: HTTP status of the answer.
        body: Body of the answer, in most cases a Status.
    """
    status = parse_status(body)
    answer_text = shorten(
        str((status or {}).get("message") or body[:MAX_MESSAGE].decode("utf-8", "replace")), MAX_MESSAGE
    )
    details: dict[str, Any] = (status or {}).get("details") or {}
    said = answer_text or f"the API server answered {code} to a request for {call.what}"
    message = f"{call.where}: {said}"
    if code < 400:
        return build_foreign_error(str(code).encode(), call)
    if code == 401:
        return _not_logged_in(answer_text, call)
    if code == 403:
        return _forbidden(answer_text, message, call)
    if code == 404:
        return _absent(message, details, call, known=status is not None)
    if code == 409:
        return _conflict(message, details, call)
    if code == 429:
        return ClusterError(f"{call.where}: the API server is overloaded: {said}", hint="try again later")
    return InvalidError(message) if code < 500 else _failed(code, answer_text, message, call)


def _failed(code: int, answer_text: str, message: str, call: ApiCall) -> ClusterError:
    if "failed calling webhook" in answer_text:
        command = call.kubectl("get pods --all-namespaces --field-selector=status.phase!=Running")
        return ClusterError(
            message, hint=f"a webhook doesn't answer; this command lists the pods that don't run: {command}"
        )
    hint = f"try again when this command answers ok: {call.kubectl('get --raw /readyz')}"
    if code in {502, 503, 504}:
        return UnreachableClusterError(f"{call.where}: {call.server} answered {code}: {answer_text}", hint=hint)
    return ClusterError(message, hint=hint)


def _not_logged_in(answer_text: str, call: ApiCall) -> DeniedError:
    return DeniedError(
        f"{call.where}: the user is not logged in at {call.server}: {answer_text or 'Unauthorized'}",
        hint=f"log in again, then check that this command works: {call.kubectl('get namespaces')}",
    )


def _forbidden(answer_text: str, message: str, call: ApiCall) -> ClusterError:
    right = _RIGHT.search(answer_text)
    if right and right["user"] == "system:anonymous":
        return _not_logged_in(answer_text, call)
    if right is None and answer_text:  # admission (a quota, Pod Security, a webhook) refuses the object, not the user
        hint = call.kubectl("describe resourcequota", namespaced=True) if "exceeded quota" in answer_text else None
        if "because it is being terminated" in answer_text:
            commands = (
                f"wait --for=delete namespace/{call.namespace} --timeout=5m",
                f"create namespace {call.namespace}",
            )
            hint = f"make the namespace again when it is gone: {' && '.join(map(call.kubectl, commands))}"
        return InvalidError(message, hint=hint)
    verb, resource = call.verb, call.resource
    if right:
        verb, resource = right["verb"], right["resource"] + (f".{right['group']}" if right["group"] else "")
    tail = (right["sub"] if right else call.subresource) or ""
    scope = f"namespace {call.namespace}" if call.namespace else "the whole cluster"
    asked = f"auth can-i {verb} {resource}" + (f" --subresource={tail}" if tail else "")
    return DeniedError(
        f"{call.where}: {right['user'] if right else 'this user'} may not {verb} "
        f"{resource}{f'/{tail}' if tail else ''} in {scope}",
        hint="ask the cluster's administrator for this permission, until this command answers yes: "
        f"{call.kubectl(asked, namespaced=True)}",
    )


def _absent(message: str, details: dict[str, Any], call: ApiCall, *, known: bool) -> AbsentError:
    if details.get("kind") == "namespaces" and not call.resource.startswith("namespaces"):
        name = str(details.get("name") or call.namespace)
        hint = call.kubectl(f"create namespace {shlex.quote(name)}")
        return AbsentError(f"{call.where}: the namespace {name} does not exist", hint=hint)
    if not known:
        group = call.resource.partition(".")[2]
        return AbsentError(
            f"{call.where}: this cluster does not have {call.resource or 'the requested path'}",
            hint="list the resources that the cluster has, and install the missing ones: "
            f"{call.kubectl(f'api-resources --api-group={group}')}",
        )
    return AbsentError(message, hint=call.kubectl(f"get {call.resource}", namespaced=True) if call.resource else None)


def _conflict(message: str, details: dict[str, Any], call: ApiCall) -> ConflictError:
    causes = tuple(
        (manager[1], str(cause.get("field", "")))
        for cause in details.get("causes") or ()
        if (manager := _MANAGER.search(str(cause.get("message"))))
    )
    if not causes:
        return ConflictError(message, hint="another client has changed the object; read it again, then try again")
    owners = ", ".join(sorted({manager for manager, _ in causes}))
    listed = ", ".join(field for _, field in causes[:5]) + (", ..." if len(causes) > 5 else "")
    see = call.kubectl(f"get {call.resource} {call.name} -o yaml --show-managed-fields", namespaced=True)
    return ConflictError(
        f"{call.where}: {owners} has set fields of {call.what}: {listed}",
        hint=f"leave these fields out, or take them over (--adopt); this command shows their owners: {see}",
        causes=causes,
    )


class BrokenConnectionError(UnreachableClusterError):
    """An open connection broke; it isn't known whether the server carried out the request."""


def build_unreachable_error(error: Exception, call: ApiCall, limit_s: float) -> UnreachableClusterError:
    """Build the error for a request without an answer, or whose connection broke.

    Args:
        error: Exception of `HttpClient`, or of a connection.
        limit_s: Time limit of the request in seconds.
    """
    found, ready = explain(error), call.kubectl("get --raw /readyz")
    hint = f"try again when this command answers ok: {ready}"
    if isinstance(error, TimeoutError):
        return UnreachableClusterError(
            f"{call.where}: {call.server} did not answer within {limit_s:.3g} s", hint=f"check the network, and {hint}"
        )
    if not isinstance(error, UnreachableError):
        reason = shorten(str(error), 200) or found.reason
        return BrokenConnectionError(f"{call.where}: the connection to {call.server} broke: {reason}", hint=hint)
    what, hint = f"can't connect to {call.server}: {shorten(found.reason, 200)}", f"check the network, and {hint}"
    if found.kind == NAME:
        what = f"the name of {call.server} can't be resolved"
    elif found.kind in (CERTIFICATE, TLS):
        what = f"the certificate of {call.server} can't be verified: {shorten(found.reason, 200)}"
        hint = (
            "check the clock of this machine and the certificate authority in the kubeconfig: "
            f"{call.kubectl('config view --minify')}"
        )
    return UnreachableClusterError(f"{call.where}: {what}", hint=hint)


def build_foreign_error(body: bytes, call: ApiCall) -> ClusterError:
    """Build the error for a successful answer that isn't from an API server, such as the page of a login proxy."""
    answer_text = shorten(body[:400].decode("utf-8", "replace"), 100)
    return ClusterError(
        f"{call.where}: {call.server} is not an API server: it answered {answer_text}",
        hint=f"check the server's address in the kubeconfig: {call.kubectl('config view --minify')}",
    )
