"""Check of the current user's permissions; the API server is asked about each (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from eaves.platform.findings import Finding, error, ok, warning
from knative.client.kinds import (
    CONFIG_MAP,
    EVENT,
    JOB,
    POD,
    POD_AUTOSCALER,
    REVISION,
    SERVICE,
    SUBSCRIPTION,
    ObjectKind,
)
from knative.deploy.ownership import AT_HOME
from knative.doctor.cluster_checks import GATEWAYS
from knative.doctor.site import ExaminedSite
from knative.resources.sources import NODE, find_runner

APPLY = ("get", "list", "create", "patch", "delete")
"""RBAC verbs that are needed to apply and delete objects. Server-side apply is a PATCH; for a new object it also needs
`create`."""
CONNECT = ("get", "create")
"""Verbs for `pods/exec` and `pods/portforward`: a WebSocket is opened by GET; servers from 1.35 on also require
`create`."""


@dataclass(frozen=True, slots=True)
class NeededPermission:
    """A permission that a command needs on the cluster.

    Attributes:
        command: Command of Eaves that needs the permission.
        kind: Kind of the objects.
        verbs: Verbs on the objects.
        namespace: Namespace of the objects; empty for the whole cluster.
        subresource: Subresource of the objects; empty for the objects themselves.
        name: Name of the one object; empty for all objects.
        hard: Whether the command fails completely without the permission.
    """

    command: str
    kind: ObjectKind
    verbs: Sequence[str]
    namespace: str
    subresource: str = ""
    name: str = ""
    hard: bool = False

    @property
    def resource(self) -> str:
        """Name of the resource for kubectl."""
        return self.kind.resource + (f"/{self.subresource}" if self.subresource else "")


def list_needed(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield every permission for deploying, rolling out, sending events to, removing and training the app.

    `eaves train` reads a run that this machine can't reach (on a volume, or with credentials that only pods have)
    through a pod, which it deletes afterwards.
    """
    here, need = subject.namespace, NeededPermission
    kinds = list(subject.kinds())
    for kind, namespace in (*kinds, (CONFIG_MAP, here)):  # the ConfigMap: the app's inventory
        # `remove` keeps the agents' namespace
        command, verbs = ("deploy, remove", APPLY) if kind.namespaced else ("deploy", ("get", "create", "patch"))
        yield need(command, kind, verbs, namespace, hard=True)
    for kind in AT_HOME:  # an earlier deploy may have left objects; who may not list Services has none
        if (kind, here) not in kinds and kind is not SERVICE:
            yield need("deploy, remove", kind, ("list",), here, hard=True)
    yield need("deploy", REVISION, ("delete",), here)  # one that was given up
    if subject.app.triggers:  # removed settings of a trigger's delivery are removed from its Subscription
        yield need("deploy", SUBSCRIPTION, ("list", "patch"), here)
    for kind in (REVISION, POD, POD_AUTOSCALER):
        yield need("status, rollout", kind, ("get", "list"), here, hard=True)
    yield need("deploy --wait", EVENT, ("list",), here)
    yield need("logs", POD, ("get",), here, "log")
    yield need("status, rollout", POD, CONNECT, here, "portforward")
    runners = {find_runner(source) for source in subject.app.sources}
    if runners - {NODE} or any(trigger.needs_publisher for trigger in subject.app.triggers):
        yield need("queue", POD, CONNECT, here, "exec")
    if NODE in runners:
        agents = subject.settings.agent_namespace
        yield need("status, queue", POD, ("get", "list"), agents)
        yield need("status", POD, CONNECT, agents, "portforward")
        yield need("queue", POD, CONNECT, agents, "exec")
    if where := subject.trains_in:
        yield need("train", JOB, APPLY, where)
        yield need("train", POD, APPLY, where)
        yield need("train", POD, ("get",), where, "log")
        yield need("train", POD, CONNECT, where, "portforward")
    gateway = subject.settings.gateway_namespace
    service = next((f"{service}:80" for namespace, service in GATEWAYS.values() if namespace == gateway), "")
    yield need("send", SERVICE, ("create",), gateway, "proxy", service)


def check_permissions(subject: ExaminedSite) -> Iterator[Finding]:
    """Report the denied permissions, each group with the command that grants them."""
    missing: dict[tuple[str, str, str, bool, tuple[str, ...]], list[str]] = {}
    for need in list_needed(subject):
        may = partial(
            subject.cluster.allowed,
            kind=need.kind,
            subresource=need.subresource,
            namespace=need.namespace,
            name=need.name,
        )
        # The API server is first asked about all verbs together, since an administrator has them all.
        verbs = () if len(need.verbs) > 1 and may("*") else tuple(verb for verb in need.verbs if not may(verb))
        if verbs:
            missing.setdefault((need.command, need.namespace, need.name, need.hard, verbs), []).append(need.resource)
    if not missing:
        yield ok(
            "permissions",
            "the current user has the permissions to deploy, roll out, send to and remove "
            f"functions in {subject.namespace}",
        )
    for (command, namespace, name, hard, verbs), resources in missing.items():
        where = f"in {namespace}" if namespace else "in the whole cluster"
        parts = {resource.partition("/")[2] for resource in resources}
        role = "-".join(["eaves", command.partition(",")[0].replace(" --", "-"), *sorted(filter(None, parts))])
        kind, scope = ("role", f"-n {namespace} ") if namespace else ("clusterrole", "")
        only = f" --resource-name={name}" if name else ""
        yield (error if hard else warning)(
            "permissions",
            f"the current user may not {', '.join(verbs)} {', '.join(resources)} {where} (needed by eaves {command})",
            f"kubectl {scope}create {kind} {role} --verb={','.join(verbs)} --resource={','.join(resources)}{only} && "
            f"kubectl {scope}create {kind}binding {role} --{kind}={role} --user=USER",
        )
