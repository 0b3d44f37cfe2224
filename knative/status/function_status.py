"""Status of the functions of a namespace, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eaves.admin.summary import AgentStatus
from eaves.errors import DeniedError
from eaves.platform import FunctionStatus, ServedStatus
from knative.client.kinds import KSERVICE, POD_AUTOSCALER, REVISION
from knative.deploy.ownership import AppOwner
from knative.diagnosis import Diagnosis, collect_evidence, diagnose_function, is_ready
from knative.diagnosis.evidence import condition, parse_time
from knative.readiness.parts import FAILED, MISSING
from knative.resources.fields.labels import ARTIFACT_ANNOTATION, MANAGED_LABEL, MANAGED_VALUE, SITE_LABEL
from knative.status.agent_status import list_agent_pods, read_agents
from knative.status.app_parts import AppParts, describe_deployment, describe_part, list_pinned, list_sources, read_apps

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

_OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"
READY, IDLE, DEGRADED = "ready", "idle", "degraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceObservation:
    """The data of a namespace from which the status of its functions is built, besides the Knative Services.

    Attributes:
        scales: Number of replicas by revision.
        revisions: Revisions by name; empty when the user may not read them.
        now: The API server's clock, Unix seconds.
    """

    scales: Mapping[str, int]
    revisions: Mapping[str, Mapping[str, Any]]
    now: float


def read_status(cluster: Cluster, owner: AppOwner) -> list[FunctionStatus]:
    """Read the status of every function in a namespace, with the parts of its app, sorted by name.

    The queue of Knative's broker can't be read from here.

    Args:
        cluster: Connection to the cluster.
        owner: The site, and the namespace of its agents on nodes.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    services = sorted(cluster.list(KSERVICE, selector=_OURS), key=_name)
    if not services:
        return []
    seen = NamespaceObservation(scales=_scales(cluster), revisions=_revisions(cluster), now=cluster.clock())
    apps = read_apps(cluster, owner, [_name(service) for service in services], now=seen.now)
    statuses = _agent_statuses(cluster, owner)
    found = []
    for service in services:
        wrong = None if is_ready(service) else _diagnose(cluster, service, seen.now)
        status = build_function_status(service, seen, apps[_name(service)], wrong)
        found.append(replace(status, agents=tuple(statuses.get(status.name, ()))))
    return found


def _agent_statuses(cluster: Cluster, owner: AppOwner) -> dict[str, list[AgentStatus]]:
    """Read the reports of all agents, and group them by app."""
    statuses: dict[str, list[AgentStatus]] = {}
    pods = list_agent_pods(cluster, owner)
    for pod, status in zip(pods, read_agents(cluster, pods), strict=True):
        statuses.setdefault(pod.app, []).append(status)
    return statuses


def _diagnose(cluster: Cluster, service: Mapping[str, Any], now: float) -> Diagnosis | None:
    return diagnose_function(collect_evidence(cluster, _name(service), service=service, now=now))


def build_function_status(
    service: Mapping[str, Any], seen: NamespaceObservation, app: AppParts, wrong: Diagnosis | None
) -> FunctionStatus:
    """Build the status of one function.

    Args:
        service: The Knative Service.
        seen: The other data of the Service's namespace.
        app: The parts of the app, its objects other than the function.
        wrong: Reason why the last deployment isn't ready; None when it is ready, or only needs more time.
    """
    metadata, status = service["metadata"], service.get("status", {})
    template = service["spec"]["template"]
    routed = [entry for entry in status.get("traffic", ()) if entry.get("percent")]
    replicas = sum(seen.scales.get(str(entry.get("revisionName")), 0) for entry in routed)
    state = _state(service, replicas, serving=bool(routed), failed=wrong is not None and wrong.final)
    broken = any(part.state in {FAILED, MISSING} for part in app.parts)
    unready = condition(service, "Ready")
    return FunctionStatus(
        name=str(metadata["name"]),
        state=DEGRADED if broken and state in {READY, IDLE} else state,
        replicas=replicas,
        reason=wrong.message if wrong is not None else _reason(status),
        cause=wrong.cause if wrong is not None else "",
        fix=wrong.fix if wrong is not None else "",
        since=parse_time(unready.get("lastTransitionTime")) if unready.get("status") != "True" else None,
        artifact=str(template["spec"]["containers"][0].get("image", "")),
        artifact_digest=template.get("metadata", {}).get("annotations", {}).get(ARTIFACT_ANNOTATION, ""),
        site=str(metadata.get("labels", {}).get(SITE_LABEL, "")),
        sources=tuple(list_sources(app)),
        traffic=tuple(f"{entry.get('revisionName')} {entry['percent']} %" for entry in routed),
        parts=tuple(describe_part(part, seen.now) for part in app.parts),
        serving=tuple(_served(entry, seen) for entry in routed),
        deployed=describe_deployment(app.inventory, seen.now),
        pinned=tuple(list_pinned(app.values)),
    )


def _served(entry: Mapping[str, Any], seen: NamespaceObservation) -> ServedStatus:
    name = str(entry.get("revisionName"))
    revision = seen.revisions.get(name, {})
    containers = revision.get("spec", {}).get("containers") or [{}]
    annotations = revision.get("metadata", {}).get("annotations") or {}
    return ServedStatus(
        revision=name,
        percent=int(entry["percent"]),
        image=str(containers[0].get("image", "")),
        artifact_digest=str(annotations.get(ARTIFACT_ANNOTATION, "")),
    )


def _state(service: Mapping[str, Any], replicas: int, *, serving: bool, failed: bool) -> str:
    """Return the state of a function.

    While its route leads to a ready revision, the function serves, even when a newer revision fails.
    """
    current = service.get("status", {}).get("observedGeneration") == service["metadata"].get("generation")
    if condition(service, "RoutesReady").get("status") == "True" and serving:
        return READY if replicas else IDLE
    if failed or (condition(service, "Ready").get("status") == "False" and current):
        return "failed"
    return "starting"


def _reason(status: Mapping[str, Any]) -> str:
    for one in status.get("conditions", ()):
        if one["type"] == "Ready" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "")
    return ""


def _scales(cluster: Cluster) -> dict[str, int]:
    """Return the number of replicas of each revision, from the status of Knative's autoscaler."""
    return {
        str(one["metadata"]["name"]): int(one.get("status", {}).get("actualScale") or 0)
        for one in cluster.list(POD_AUTOSCALER)
    }


def _revisions(cluster: Cluster) -> dict[str, Mapping[str, Any]]:
    """Return the revisions by name; empty when the user may not read them."""
    try:
        return {_name(revision): revision for revision in cluster.list(REVISION)}
    except DeniedError:
        return {}


def _name(value: Mapping[str, Any]) -> str:
    return str(value["metadata"]["name"])
