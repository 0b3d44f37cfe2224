"""What the current user may do, asked of the API server itself (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from knative.doctor.finding import Finding, error, ok, warning
from knative.doctor.subject import Subject
from knative.kinds import EVENT, KSERVICE, POD, POD_AUTOSCALER, REVISION, SERVICE, Kind

APPLY = ("get", "list", "create", "patch", "delete")
"""Server-side apply is a PATCH, and `create` too where the object isn't there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a command asks of the cluster.

    Attributes:
        command: That asks it.
        kind: Of objects.
        verbs: On them.
        subresource: Of them; empty: themselves.
        namespace: Where; empty: in the whole cluster.
        hard: Without it the command can't do its work at all.
    """

    command: str
    kind: Kind
    verbs: Sequence[str]
    subresource: str = ""
    namespace: str
    hard: bool = True

    @property
    def resource(self) -> str:
        """As kubectl names it."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group}" + (f"/{self.subresource}" if self.subresource else "")


def needs(subject: Subject) -> Iterator[Need]:
    """Everything that deploying, rolling out, asking and removing this app takes."""
    here = subject.namespace
    for kind, namespace in subject.kinds():
        yield Need(command="deploy, remove", kind=kind, verbs=APPLY, namespace=namespace)
    yield Need(command="deploy --wait", kind=KSERVICE, verbs=("watch",), namespace=here)
    for kind in (REVISION, POD, POD_AUTOSCALER):
        yield Need(command="status, rollout", kind=kind, verbs=("get", "list"), namespace=here)
    yield Need(command="deploy --wait", kind=EVENT, verbs=("list",), namespace=here, hard=False)
    yield Need(command="logs", kind=POD, verbs=("get",), subresource="log", namespace=here, hard=False)
    yield Need(command="rollout", kind=POD, verbs=("get",), subresource="proxy", namespace=here, hard=False)
    gateway = subject.settings.gateway_namespace
    yield Need(command="send", kind=SERVICE, verbs=("create",), subresource="proxy", namespace=gateway, hard=False)


def check_permissions(subject: Subject) -> Iterator[Finding]:
    """Each of them that is denied, and the line that grants it."""
    missing = [(need, verbs) for need in needs(subject) if (verbs := _denied(subject, need))]
    if not missing:
        yield ok("permissions", f"the current user may deploy, roll out, ask and remove in {subject.namespace}")
        return
    for need, verbs in missing:
        where = f"in {need.namespace}" if need.namespace else "in the cluster"
        message = (
            f"the current user may not {', '.join(verbs)} {need.resource} {where}: `eaves {need.command}` needs it"
        )
        yield (error if need.hard else warning)("permissions", message, _grant(need, verbs))


def _denied(subject: Subject, need: Need) -> list[str]:
    """An administrator has all verbs at once: one question a kind instead of five."""
    everything = len(need.verbs) > 1 and _may(subject, "*", need)
    return [] if everything else [verb for verb in need.verbs if not _may(subject, verb, need)]


def _may(subject: Subject, verb: str, need: Need) -> bool:
    return subject.cluster.allowed(verb, need.kind, subresource=need.subresource, namespace=need.namespace)


def _grant(need: Need, verbs: Sequence[str]) -> str:
    name = f"eaves-{need.kind.plural}" + (f"-{need.subresource}" if need.subresource else "")
    kind, scope = ("role", f"-n {need.namespace} ") if need.namespace else ("clusterrole", "")
    return (
        f"kubectl {scope}create {kind} {name} --verb={','.join(verbs)} --resource={need.resource} && "
        f"kubectl {scope}create {kind}binding {name} --{kind}={name} --user=USER"
    )
