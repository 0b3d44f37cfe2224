"""Status of the functions of a namespace with the other parts of their apps, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from eaves.platform import DeployedStatus, FunctionStatus, PartStatus, PinnedStatus, ServedStatus
from knative.client.kinds import CONFIG_MAP, DAEMON_SET, KSERVICE, POD_AUTOSCALER, REVISION, SINK_BINDING
from knative.inventory import Inventory, item_kind, read_inventory
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
from knative.status.conditions import Object, condition, is_ready, is_true, name_of, observed, parse_time
from knative.status.diagnosis import read_function
from knative.status.parts import (
    FAILED,
    MISSING,
    PART_KINDS,
    Key,
    broker_of,
    judge_parts,
    key_of,
    list_values,
    missing_part,
    unknown_part,
)

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

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
        self._revisions: dict[str, Object] = {}
        """Revisions by name; empty when the user may not read them."""
        with suppress(DeniedError):
            self._revisions = {name_of(one): one for one in cluster.list(REVISION)}
        found, self._unseen = list_values(cluster, PART_KINDS, cluster.namespace)
        hidden = list(self._unseen)
        if owner.agents and owner.agents != cluster.namespace:
            # A user who may not list the namespace of agents gets the agents that they may see.
            there, elsewhere = list_values(cluster, _ON_NODES, owner.agents)
            found += [one for one in there if owner.has_agent(one, cluster.namespace)]
            hidden += elsewhere
        self._hidden = {(part.kind, part.namespace) for part in hidden}
        self._values = {key_of(value): value for value in found}
        self._judged = dict(zip(self._values, judge_parts(cluster, found, now=self._now), strict=True))
        pods = list_agent_pods(cluster, owner)
        reported = zip(pods, read_agents(cluster, pods), strict=True)
        self._agents = {
            app: tuple(status for _, status in statuses) for app, statuses in groupby(reported, lambda one: one[0].app)
        }

    def describe(self, service: Mapping[str, Any]) -> FunctionStatus:
        """Build the status of one function."""
        status, template = service.get("status", {}), service["spec"]["template"]
        name = name_of(service)
        own = {key: value for key, value in self._values.items() if labels_of(value).get(APP_LABEL) == name}
        inventory, unreadable = self._read_inventory(name)
        parts = [*self._list_parts(own, inventory), *self._unseen, *unreadable]
        seen = None if is_ready(service) else read_function(self._cluster, name, service=service, now=self._now)
        wrong = seen.diagnosis if seen is not None else None
        routed = [entry for entry in status.get("traffic", ()) if entry.get("percent")]
        replicas = sum(self._replicas.get(str(entry.get("revisionName")), 0) for entry in routed)
        state = _state(service, replicas, serving=bool(routed), failed=wrong is not None and wrong.final)
        broken = any(part.state in {FAILED, MISSING} for part in parts)
        unready = condition(service, "Ready")
        said = unready.get("message") or unready.get("reason") or ""
        return FunctionStatus(
            name=name,
            state=DEGRADED if broken and state in {READY, IDLE} else state,
            replicas=replicas,
            reason=wrong.message if wrong is not None else str(said) if unready.get("status") == "False" else "",
            cause=wrong.cause if wrong is not None else "",
            fix=wrong.fix if wrong is not None else "",
            since=parse_time(unready.get("lastTransitionTime")) if unready.get("status") != "True" else None,
            artifact=str(template["spec"]["containers"][0].get("image", "")),
            artifact_digest=template.get("metadata", {}).get("annotations", {}).get(ARTIFACT_ANNOTATION, ""),
            site=labels_of(service).get(SITE_LABEL, ""),
            parts=tuple(parts),
            serving=tuple(self._describe_served(entry) for entry in routed),
            deployed=self._describe_deployment(inventory),
            pinned=tuple(_list_pinned(own.values())),
            agents=self._agents.get(name, ()),
        )

    def _read_inventory(self, name: str) -> tuple[Inventory | None, list[PartStatus]]:
        """Return an app's inventory; None and a part of state `unknown` when it can't be read."""
        try:
            return read_inventory(self._cluster, name), []
        except (DeniedError, ConflictError, InvalidError) as error:
            return None, [unknown_part(CONFIG_MAP, self._cluster.namespace, error.message)]

    def _list_parts(self, own: Mapping[Key, Object], inventory: Inventory | None) -> Iterator[PartStatus]:
        """Yield the parts of an app and the Brokers that they name; listed ones that are gone are `missing`."""
        kinds = {item_kind(kind): kind for kind in PART_KINDS}
        spaces = {self._cluster.namespace, self._owner.agents}
        wanted = [*own, *(broker for key, value in own.items() for broker in broker_of(value, key[2]))]
        items = inventory.items if inventory is not None else ()
        listed = [item for item in items if item.kind in kinds and item.namespace in spaces]
        wanted += [(kinds[item.kind], item.name, item.namespace) for item in listed]
        for key in sorted(dict.fromkeys(wanted), key=lambda key: PART_KINDS.index(key[0])):
            if key in self._judged:
                yield self._judged[key]
            elif (key[0].kind, key[2]) not in self._hidden:
                yield missing_part(*key)

    def _describe_served(self, entry: Mapping[str, Any]) -> ServedStatus:
        name = str(entry.get("revisionName"))
        revision = self._revisions.get(name, {})
        containers = revision.get("spec", {}).get("containers") or [{}]
        annotations = revision.get("metadata", {}).get("annotations") or {}
        return ServedStatus(
            revision=name,
            percent=int(entry["percent"]),
            image=str(containers[0].get("image", "")),
            artifact_digest=str(annotations.get(ARTIFACT_ANNOTATION, "")),
        )

    def _describe_deployment(self, inventory: Inventory | None) -> DeployedStatus | None:
        deployment = inventory.deployment if inventory is not None else None
        if deployment is None:
            return None
        return DeployedStatus(
            sequence=deployment.sequence,
            at=deployment.at,
            age_s=max(0.0, self._now - deployment.at),
            by=deployment.by,
            image=deployment.image,
            artifact_digest=deployment.artifact,
        )


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
    for value in values:
        if is_pin(value):
            (container, *_) = value["spec"]["template"]["spec"]["containers"]
            status = value.get("status", {})
            wanted, ready = status.get("desiredNumberScheduled") or 0, status.get("numberReady") or 0
            yield PinnedStatus(image=str(container.get("image", "")), ready=int(ready), wanted=int(wanted))
