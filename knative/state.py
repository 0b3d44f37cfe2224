"""What a cluster says of functions, as plain results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eaves.admin.summary import AgentStatus
from eaves.errors import DeniedError
from eaves.platform import FunctionStatus
from knative.agents import list_agent_pods, read_agents
from knative.diagnosis import Diagnosis, collect, diagnose, is_ready
from knative.kinds import CONTAINER_SOURCE, DAEMON_SET, KSERVICE, POD_AUTOSCALER, STATEFUL_SET
from knative.names import APP_LABEL, ARTIFACT_ANNOTATION, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL, SITE_LABEL
from knative.owned import Owner
from knative.resources.agent import PART, SOURCE_LABEL

if TYPE_CHECKING:
    from knative.cluster import Cluster

_OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"


def read_status(cluster: Cluster, owner: Owner) -> list[FunctionStatus]:
    """Every function in a namespace, by name. What queues in Knative's broker can't be seen from here.

    Args:
        cluster: Where.
        owner: Of what site, and where its agents on nodes are.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    services = cluster.list(KSERVICE, selector=_OURS)
    if not services:
        return []
    scales = _scales(cluster)
    agents = list(_agents(cluster, owner))
    statuses = _agent_statuses(cluster, owner)
    found = []
    for one in sorted(services, key=lambda one: str(one["metadata"]["name"])):
        sources = [text for app, text in agents if app == one["metadata"]["name"]]
        status = describe(one, scales, sources, None if is_ready(one) else _diagnose(cluster, one))
        found.append(replace(status, agents=tuple(statuses.get(status.name, ()))))
    return found


def _agent_statuses(cluster: Cluster, owner: Owner) -> dict[str, list[AgentStatus]]:
    """What the agents of each app say."""
    statuses: dict[str, list[AgentStatus]] = {}
    pods = list_agent_pods(cluster, owner)
    for pod, status in zip(pods, read_agents(cluster, pods), strict=True):
        statuses.setdefault(pod.app, []).append(status)
    return statuses


def _diagnose(cluster: Cluster, service: Mapping[str, Any]) -> Diagnosis | None:
    name = str(service["metadata"]["name"])
    return diagnose(collect(cluster, name, service=service, now=cluster.clock()))


def describe(
    service: Mapping[str, Any], scales: Mapping[str, int], sources: list[str], wrong: Diagnosis | None
) -> FunctionStatus:
    """One function.

    Args:
        service: The Knative Service.
        scales: Revision to replicas.
        sources: Its sources, each with its state.
        wrong: Why what was deployed last isn't ready; None when it is, or is on its way.
    """
    metadata, status = service["metadata"], service.get("status", {})
    template = service["spec"]["template"]
    routed = [entry for entry in status.get("traffic", ()) if entry.get("percent")]
    replicas = sum(scales.get(str(entry.get("revisionName")), 0) for entry in routed)
    return FunctionStatus(
        name=str(metadata["name"]),
        state=_state(service, replicas, serving=bool(routed), failed=wrong is not None and wrong.final),
        replicas=replicas,
        reason=wrong.message if wrong is not None else _reason(status),
        artifact=str(template["spec"]["containers"][0].get("image", "")),
        artifact_digest=template.get("metadata", {}).get("annotations", {}).get(ARTIFACT_ANNOTATION, ""),
        site=str(metadata.get("labels", {}).get(SITE_LABEL, "")),
        sources=tuple(sources),
        traffic=tuple(f"{entry.get('revisionName')} {entry['percent']} %" for entry in routed),
    )


def _state(service: Mapping[str, Any], replicas: int, *, serving: bool, failed: bool) -> str:
    """A route that leads to a good revision serves, whatever becomes of a newer one."""
    status = service.get("status", {})
    current = status.get("observedGeneration") == service["metadata"].get("generation")
    route, overall = _condition(status, "RoutesReady"), _condition(status, "Ready")
    if route == "True" and serving:
        return "ready" if replicas else "idle"
    if failed or (overall == "False" and current):
        return "failed"
    return "starting"


def _condition(status: Mapping[str, Any], kind: str) -> str:
    return next((str(one["status"]) for one in status.get("conditions", ()) if one["type"] == kind), "Unknown")


def _reason(status: Mapping[str, Any]) -> str:
    for one in status.get("conditions", ()):
        if one["type"] == "Ready" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "")
    return ""


def _scales(cluster: Cluster) -> dict[str, int]:
    """Revision to replicas. At zero the autoscaler says nothing, or 0."""
    return {
        str(one["metadata"]["name"]): int(one.get("status", {}).get("actualScale") or 0)
        for one in cluster.list(POD_AUTOSCALER)
    }


def _agents(cluster: Cluster, owner: Owner) -> Iterator[tuple[str, str]]:
    """(app, state) of every source here, those on nodes too where these may be seen."""
    ours = f"{_OURS},{PART_LABEL}={PART}"
    found = [one for kind in (STATEFUL_SET, DAEMON_SET, CONTAINER_SOURCE) for one in cluster.list(kind, selector=ours)]
    if owner.agents and owner.agents != cluster.namespace:
        with suppress(DeniedError):
            there = cluster.list(DAEMON_SET, namespace=owner.agents, selector=ours)
            found += [one for one in there if owner.has_agent(one["metadata"]["labels"], cluster.namespace)]
    for one in found:
        labels, status = one["metadata"]["labels"], one.get("status", {})
        name = labels.get(SOURCE_LABEL) or one["metadata"]["name"]
        if one["kind"] == CONTAINER_SOURCE.kind:
            ready = _condition(status, "Ready") == "True"
            yield labels[APP_LABEL], f"{name} {'running' if ready else 'starting'}"
            continue
        wanted = status.get("desiredNumberScheduled", one["spec"].get("replicas", 0))
        there = status.get("numberReady", status.get("readyReplicas", 0))
        yield labels[APP_LABEL], f"{name} {'running' if there >= wanted else 'starting'} ({there}/{wanted})"
