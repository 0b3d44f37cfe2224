"""Check of the current user's permissions; the API server is asked about each (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eaves.platform.findings import Finding, error, ok, warning
from knative.client.kinds import (
    CONFIG_MAP,
    EVENT,
    JOB,
    KSERVICE,
    POD,
    POD_AUTOSCALER,
    REVISION,
    SECRET,
    SERVICE,
    SUBSCRIPTION,
    ObjectKind,
)
from knative.deploy.objects.labelled_objects import AT_HOME
from knative.doctor.cluster_checks import GATEWAYS
from knative.doctor.site import ExaminedSite
from knative.resources.app.sources import SourceRunner, find_runner

APPLY = ("get", "list", "create", "patch", "delete")
"""RBAC verbs that are needed to apply and delete objects. Server-side apply is a PATCH; for a new object it also needs
`create`."""
_CONNECT: tuple[str, ...] = ("get", "create")
"""Verbs for `pods/exec` and `pods/portforward`: a WebSocket is opened by GET; servers from 1.35 on also require
`create`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededPermission:
    """A permission that a command needs on the cluster.

    Attributes:
        command: Command of Eaves that needs the permission.
        kind: Kind of the objects.
        verbs: Verbs on the objects.
        subresource: Subresource of the objects; empty for the objects themselves.
        namespace: Namespace of the objects; empty for the whole cluster.
        name: Name of the one object; empty for all objects.
        hard: Whether the command fails completely without the permission.
    """

    command: str
    kind: ObjectKind
    verbs: Sequence[str]
    subresource: str = ""
    namespace: str
    name: str = ""
    hard: bool = False

    @property
    def resource(self) -> str:
        """Name of the resource for kubectl."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group}" + (f"/{self.subresource}" if self.subresource else "")


def list_needed(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield every permission for deploying, rolling out, sending events to, removing and training the app."""
    here = subject.namespace
    kinds = list(subject.kinds())
    for kind, namespace in (*kinds, (CONFIG_MAP, here)):  # the ConfigMap: the app's inventory
        # `remove` keeps the agents' namespace
        command, verbs = ("deploy, remove", APPLY) if kind.namespaced else ("deploy", ("get", "create", "patch"))
        yield NeededPermission(command=command, kind=kind, verbs=verbs, namespace=namespace, hard=True)
    for kind in AT_HOME:  # an earlier deploy may have left objects; who may not list Services has none
        if (kind, here) not in kinds and kind is not SERVICE:
            yield NeededPermission(command="deploy, remove", kind=kind, verbs=("list",), namespace=here, hard=True)
    yield NeededPermission(command="promote", kind=KSERVICE, verbs=("watch",), namespace=here, hard=True)
    for kind in (REVISION, POD, POD_AUTOSCALER):
        yield NeededPermission(command="status, rollout", kind=kind, verbs=("get", "list"), namespace=here, hard=True)
    for soft, kind, wanted, subresource, namespace in _soft_needs(subject):
        yield NeededPermission(command=soft, kind=kind, verbs=wanted, subresource=subresource, namespace=namespace)
    gateway = subject.settings.gateway_namespace
    yield NeededPermission(
        command="send",
        kind=SERVICE,
        verbs=("create",),
        subresource="proxy",
        namespace=gateway,
        name=next((f"{service}:80" for namespace, service in GATEWAYS.values() if namespace == gateway), ""),
    )


def _soft_needs(subject: ExaminedSite) -> Iterator[tuple[str, ObjectKind, tuple[str, ...], str, str]]:
    """Yield (command, kind, verbs, subresource, namespace) of each permission without which a command still does most.

    `eaves train` reads a run that this machine can't reach (on a volume, or with credentials that only pods have)
    through a pod and a Secret with the pod's token; it deletes both afterwards.
    """
    here = subject.namespace
    yield "deploy", REVISION, ("delete",), "", here  # one that was given up
    if subject.app.triggers:  # removed settings of a trigger's delivery are removed from its Subscription
        yield "deploy", SUBSCRIPTION, ("list", "patch"), "", here
    yield "deploy --wait", EVENT, ("list",), "", here
    yield "logs", POD, ("get",), "log", here
    yield "status, rollout", POD, _CONNECT, "portforward", here
    runners = {find_runner(source) for source in subject.app.sources}
    if runners - {SourceRunner.NODE} or any(trigger.is_mqtt for trigger in subject.app.triggers):
        yield "queue", POD, _CONNECT, "exec", here
    if SourceRunner.NODE in runners:
        agents = subject.settings.agent_namespace
        if agents != here:
            yield "status, queue", POD, ("get", "list"), "", agents
            yield "status", POD, _CONNECT, "portforward", agents
        yield "queue", POD, _CONNECT, "exec", agents
    if where := subject.trains_in:
        yield "train", JOB, APPLY, "", where
        yield "train", POD, APPLY, "", where
        yield "train", POD, ("get",), "log", where
        yield "train", SECRET, ("create", "patch", "delete"), "", where
        yield "train", POD, _CONNECT, "portforward", where


def check_permissions(subject: ExaminedSite) -> Iterator[Finding]:
    """Report the denied permissions, each group with the command that grants them."""
    missing: dict[tuple[str, str, str, bool, tuple[str, ...]], list[str]] = {}
    for need in list_needed(subject):
        if verbs := _denied(subject, need):
            missing.setdefault((need.command, need.namespace, need.name, need.hard, verbs), []).append(need.resource)
    if not missing:
        yield ok(
            "permissions",
            "the current user has the permissions to deploy, roll out, send to and remove "
            f"functions in {subject.namespace}",
        )
    for (command, namespace, name, hard, verbs), resources in missing.items():
        where = f"in {namespace}" if namespace else "in the whole cluster"
        message = (
            f"the current user may not {', '.join(verbs)} {', '.join(resources)} {where} (needed by eaves {command})"
        )
        fix = _grant(command, namespace, verbs, resources, f" --resource-name={name}" if name else "")
        yield (error if hard else warning)("permissions", message, fix)


def _denied(subject: ExaminedSite, need: NeededPermission) -> tuple[str, ...]:
    """Return the verbs that the current user lacks.

    The API server is first asked about all verbs together, since an administrator has them all.
    """

    def may(verb: str) -> bool:
        return subject.cluster.allowed(
            verb, need.kind, subresource=need.subresource, namespace=need.namespace, name=need.name
        )

    everything = len(need.verbs) > 1 and may("*")
    return () if everything else tuple(verb for verb in need.verbs if not may(verb))


def _grant(command: str, namespace: str, verbs: Sequence[str], resources: Sequence[str], only: str) -> str:
    """Return the kubectl commands by which an administrator grants permissions."""
    parts = {resource.partition("/")[2] for resource in resources}
    name = "-".join(["eaves", command.partition(",")[0].replace(" --", "-"), *sorted(filter(None, parts))])
    kind, scope = ("role", f"-n {namespace} ") if namespace else ("clusterrole", "")
    return (
        f"kubectl {scope}create {kind} {name} --verb={','.join(verbs)} --resource={','.join(resources)}{only} && "
        f"kubectl {scope}create {kind}binding {name} --{kind}={name} --user=USER"
    )
