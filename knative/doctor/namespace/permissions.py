"""Check of the current user's permissions; the API server is asked about each (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from knative.deploy.ownership import AT_HOME
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, ok, warning
from knative.resources.app.sources import SourceRunner, find_runner

APPLY = ("get", "list", "create", "patch", "delete")
"""RBAC verbs that are needed to apply and delete objects. Server-side apply is a PATCH; for a new object it also needs
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
        hard: Whether the command fails completely without the permission.
    """

    command: str
    kind: ObjectKind
    verbs: Sequence[str]
    subresource: str = ""
    namespace: str
    hard: bool = True

    @property
    def resource(self) -> str:
        """Name of the resource for kubectl."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group}" + (f"/{self.subresource}" if self.subresource else "")


def list_needed(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield every permission for deploying, rolling out, sending events to, removing and training the app."""
    here = subject.namespace
    for kind, namespace in subject.kinds():
        verbs = APPLY if kind.namespaced else ("get", "create", "patch")  # `remove` keeps the agents' namespace
        yield NeededPermission(
            command="deploy, remove" if kind.namespaced else "deploy", kind=kind, verbs=verbs, namespace=namespace
        )
    yield NeededPermission(
        command="deploy, remove", kind=CONFIG_MAP, verbs=APPLY, namespace=here
    )  # the app's inventory
    applied = {kind for kind, namespace in subject.kinds() if namespace == here}
    for kind in AT_HOME:  # an earlier deploy may have left objects; who may not list Services has none
        if kind not in applied and kind is not SERVICE:
            yield NeededPermission(command="deploy, remove", kind=kind, verbs=("list",), namespace=here)
    yield NeededPermission(
        command="deploy", kind=REVISION, verbs=("delete",), namespace=here, hard=False
    )  # one that was given up
    if subject.app.triggers:  # removed settings of a trigger's delivery are removed from its Subscription
        yield NeededPermission(command="deploy", kind=SUBSCRIPTION, verbs=("list", "patch"), namespace=here, hard=False)
    yield NeededPermission(command="promote", kind=KSERVICE, verbs=("watch",), namespace=here)
    for kind in (REVISION, POD, POD_AUTOSCALER):
        yield NeededPermission(command="status, rollout", kind=kind, verbs=("get", "list"), namespace=here)
    yield NeededPermission(command="deploy --wait", kind=EVENT, verbs=("list",), namespace=here, hard=False)
    yield NeededPermission(command="logs", kind=POD, verbs=("get",), subresource="log", namespace=here, hard=False)
    yield _forwards("status, rollout", here)
    yield from _agent_needs(subject)
    yield from _training_needs(subject)
    gateway = subject.settings.gateway_namespace
    yield NeededPermission(
        command="send", kind=SERVICE, verbs=("create",), subresource="proxy", namespace=gateway, hard=False
    )


def _agent_needs(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield the permissions for showing and changing the queues of agents."""
    kinds = {find_runner(source) for source in subject.app.sources}
    here = bool(kinds - {SourceRunner.NODE}) or any(trigger.is_mqtt for trigger in subject.app.triggers)
    places = [subject.namespace] * here + [subject.settings.agent_namespace] * (SourceRunner.NODE in kinds)
    for place in dict.fromkeys(places):
        if place != subject.namespace:
            yield NeededPermission(
                command="status, queue", kind=POD, verbs=("get", "list"), namespace=place, hard=False
            )
            yield _forwards("status", place)
        # kubectl connects by GET where the server accepts WebSockets, and by POST elsewhere.
        yield NeededPermission(
            command="queue", kind=POD, verbs=("get", "create"), subresource="exec", namespace=place, hard=False
        )


def _training_needs(subject: ExaminedSite) -> Iterator[NeededPermission]:
    """Yield the permissions for training, if trainings run in this cluster.

    `eaves train` reads a run that this machine can't reach (on a volume, or with credentials that only pods have)
    through a pod and a Secret with the pod's token; it deletes both afterwards.
    """
    where = subject.trains_in
    if not where:
        return
    yield NeededPermission(command="train", kind=JOB, verbs=APPLY, namespace=where, hard=False)
    yield NeededPermission(command="train", kind=POD, verbs=APPLY, namespace=where, hard=False)
    yield NeededPermission(command="train", kind=POD, verbs=("get",), subresource="log", namespace=where, hard=False)
    yield NeededPermission(
        command="train", kind=SECRET, verbs=("create", "patch", "delete"), namespace=where, hard=False
    )
    yield _forwards("train", where)


def _forwards(command: str, namespace: str) -> NeededPermission:
    """Build the permission for a port-forward to a pod, by which metrics are read.

    A port-forward is a WebSocket, which is opened by GET; servers from 1.35 on also require `create`.
    """
    verbs = ("get", "create")
    return NeededPermission(
        command=command, kind=POD, verbs=verbs, subresource="portforward", namespace=namespace, hard=False
    )


def check_permissions(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Report the denied permissions, each group with the command that grants them."""
    missing: dict[tuple[str, str, bool, tuple[str, ...]], list[str]] = {}
    for need in list_needed(subject):
        if verbs := _denied(subject, need):
            missing.setdefault((need.command, need.namespace, need.hard, verbs), []).append(need.resource)
    if not missing:
        yield ok(
            "permissions",
            "the current user has the permissions to deploy, roll out, send to and remove "
            f"functions in {subject.namespace}",
        )
    for (command, namespace, hard, verbs), resources in missing.items():
        where = f"in {namespace}" if namespace else "in the whole cluster"
        message = (
            f"the current user may not {', '.join(verbs)} {', '.join(resources)} {where} (needed by eaves {command})"
        )
        yield (error if hard else warning)("permissions", message, grant(command, namespace, verbs, resources))


def _denied(subject: ExaminedSite, need: NeededPermission) -> tuple[str, ...]:
    """Return the verbs that the current user lacks.

    The API server is first asked about all verbs together, since an administrator has them all.
    """
    everything = len(need.verbs) > 1 and _may(subject, "*", need)
    return () if everything else tuple(verb for verb in need.verbs if not _may(subject, verb, need))


def _may(subject: ExaminedSite, verb: str, need: NeededPermission) -> bool:
    return subject.cluster.allowed(verb, need.kind, subresource=need.subresource, namespace=need.namespace)


def grant(command: str, namespace: str, verbs: Sequence[str], resources: Sequence[str]) -> str:
    """Return the kubectl commands by which an administrator grants permissions."""
    parts = {resource.partition("/")[2] for resource in resources}
    name = "-".join(["eaves", command.partition(",")[0].replace(" --", "-"), *sorted(filter(None, parts))])
    kind, scope = ("role", f"-n {namespace} ") if namespace else ("clusterrole", "")
    return (
        f"kubectl {scope}create {kind} {name} --verb={','.join(verbs)} --resource={','.join(resources)} && "
        f"kubectl {scope}create {kind}binding {name} --{kind}={name} --user=USER"
    )
