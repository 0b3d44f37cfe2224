"""Status of the functions of a namespace with the other parts of their apps, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from eaves.platform import DeployedStatus, FunctionStatus, PartStatus, PinnedStatus, ServedStatus
from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, DAEMON_SET, KSERVICE, POD_AUTOSCALER, REVISION, SINK_BINDING
from knative.inventory import DeploymentRecord, ObjectKey, item_kind, read_inventory
from knative.resources.function import is_pin
from knative.resources.metadata import (
    APP_LABEL,
    ARTIFACT_ANNOTATION,
    OURS,
    SITE_LABEL,
    AppOwner,
    labels_of,
)
from knative.status.agents import list_agent_pods, read_agents
from knative.status.conditions import (
    Object,
    condition,
    image_of,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    observed,
    parse_time,
)
from knative.status.diagnosis import read_function
from knative.status.parts import (
    FAILED,
    MISSING,
    PART_KINDS,
    Key,
    PartReader,
    broker_of,
    count_pods,
    unknown_part,
)
from knative.status.pods import read_permitted

_ON_NODES = (SINK_BINDING, DAEMON_SET)
READY, IDLE, DEGRADED = "ready", "idle", "degraded"


def read_status(cluster: Cluster, owner: AppOwner) -> list[FunctionStatus]:
    """Read the status of every function in a namespace, with the parts of its app, sorted by name.

    The queue of Knative's broker can't be read from here.

    Args:
        cluster: Connection to the cluster.
        owner: The site, and the namespace of its agents on nodes.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    services = sorted(cluster.list(KSERVICE, selector=OURS), key=name_of)
    if not services:
        return []
    site = _Site(cluster, owner)
    return [site.describe(service) for service in services]


class _Site:
    """The objects of a namespace, read once; for the status of each function there."""

    def __init__(self, cluster: Cluster, owner: AppOwner) -> None:
        self._cluster, self._owner, self._now = cluster, owner, cluster.clock()
        self._replicas = {
            name_of(one): int(one.get("status", {}).get("actualScale") or 0) for one in cluster.list(POD_AUTOSCALER)
        }
        revisions = read_permitted(lambda: cluster.list(REVISION), list[dict[str, Any]]())
        self._revisions = {name_of(one): one for one in revisions}
        home = cluster.namespace
        places = [(kind, home) for kind in PART_KINDS]
        if owner.agents and owner.agents != home:
            places += [(kind, owner.agents) for kind in _ON_NODES]
        self._parts = PartReader(
            cluster,
            places,
            now=self._now,
            keep=lambda value: namespace_of(value) == home or owner.has_agent(value, home),
        )
        pods = list_agent_pods(cluster, owner)
        reported = zip(pods, read_agents(cluster, pods), strict=True)
        self._agents = {
            app: tuple(status for _, status in statuses) for app, statuses in groupby(reported, lambda one: one[0].app)
        }

    def describe(self, service: Object) -> FunctionStatus:
        """Build the status of one function."""
        name, unready = name_of(service), condition(service, "Ready")
        own = {key: value for key, value in self._parts.values.items() if labels_of(value).get(APP_LABEL) == name}
        # A user who may not list the namespace of agents gets the agents that they may see.
        unseen = [part for part in self._parts.unseen if part.namespace == self._cluster.namespace]
        items: Iterable[ObjectKey] = ()
        deployed = None
        try:
            inventory = read_inventory(self._cluster, name)
            items, deployed = inventory.items, inventory.deployment
        except (DeniedError, ConflictError, InvalidError) as error:
            unseen.append(unknown_part(CONFIG_MAP, self._cluster.namespace, error.message))
        parts = [*self._list_parts(own, items), *unseen]
        seen = None if is_ready(service) else read_function(self._cluster, name, service=service, now=self._now)
        wrong = seen.diagnosis if seen is not None else None
        routed = [entry for entry in service.get("status", {}).get("traffic", ()) if entry.get("percent")]
        replicas = sum(self._replicas.get(str(entry.get("revisionName")), 0) for entry in routed)
        state = _state(service, replicas, serving=bool(routed), failed=wrong is not None and wrong.final)
        if state in {READY, IDLE} and any(part.state in {FAILED, MISSING} for part in parts):
            state = DEGRADED
        said = unready.get("message") or unready.get("reason") or ""
        return FunctionStatus(
            name=name,
            state=state,
            replicas=replicas,
            reason=wrong.message if wrong is not None else str(said) if unready.get("status") == "False" else "",
            cause=wrong.cause if wrong is not None else "",
            fix=wrong.fix if wrong is not None else "",
            since=parse_time(unready.get("lastTransitionTime")) if unready.get("status") != "True" else None,
            artifact=image_of(service),
            artifact_digest=_find_artifact(service["spec"]["template"]),
            site=labels_of(service).get(SITE_LABEL, ""),
            parts=tuple(parts),
            serving=tuple(self._describe_served(entry) for entry in routed),
            deployed=None if deployed is None else self._describe_deployment(deployed),
            pinned=tuple(_list_pinned(own.values())),
            agents=self._agents.get(name, ()),
        )

    def _list_parts(self, own: Mapping[Key, Object], items: Iterable[ObjectKey]) -> Iterator[PartStatus]:
        """Yield the parts of an app and the Brokers that they name; listed ones that are gone are `missing`."""
        kinds = {item_kind(kind): kind for kind in PART_KINDS}
        wanted = [*own, *(broker for key, value in own.items() for broker in broker_of(value, key[2]))]
        spaces = {self._cluster.namespace, self._owner.agents}
        listed = [item for item in items if item.kind in kinds and item.namespace in spaces]
        return self._parts.find([*wanted, *((kinds[item.kind], item.name, item.namespace) for item in listed)])

    def _describe_served(self, entry: Mapping[str, Any]) -> ServedStatus:
        name = str(entry.get("revisionName"))
        revision = self._revisions.get(name, {})
        image, digest = image_of(revision), _find_artifact(revision)
        return ServedStatus(revision=name, percent=int(entry["percent"]), image=image, artifact_digest=digest)

    def _describe_deployment(self, deployment: DeploymentRecord) -> DeployedStatus:
        return DeployedStatus(
            sequence=deployment.sequence,
            at=deployment.at,
            age_s=max(0.0, self._now - deployment.at),
            by=deployment.by,
            image=deployment.image,
            artifact_digest=deployment.artifact,
        )


def _find_artifact(value: Object) -> str:
    """Return the digest of the artifact of a Revision, or of a Service's template; empty when it has none."""
    return str((value.get("metadata", {}).get("annotations") or {}).get(ARTIFACT_ANNOTATION, ""))


def _state(service: Mapping[str, Any], replicas: int, *, serving: bool, failed: bool) -> str:
    """Return the state of a function.

    While its route leads to a ready revision, the function serves, even when a newer revision fails.
    """
    if is_true(service, "RoutesReady") and serving:
        return READY if replicas else IDLE
    if failed or (condition(service, "Ready").get("status") == "False" and observed(service)):
        return "failed"
    return "starting"


def _list_pinned(values: Iterable[Object]) -> Iterable[PinnedStatus]:
    """Yield each container image that is pinned on nodes, with its number of ready nodes."""
    for value in filter(is_pin, values):
        ready, wanted, _ = count_pods(value)
        yield PinnedStatus(image=image_of(value), ready=ready, wanted=wanted)
