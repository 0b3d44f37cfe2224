"""The parts of each app in a namespace (its objects other than the function), its pins, and its last deployment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eaves.errors import ConflictError, DeniedError, InvalidError
from eaves.platform import DeployedStatus, PartStatus, PinnedStatus
from knative.client.kinds import CONFIG_MAP, DAEMON_SET, SINK_BINDING
from knative.deploy.inventory import Inventory, item_kind, read_inventory
from knative.deploy.ownership import AppOwner
from knative.diagnosis.evidence import Object
from knative.readiness.part_reader import PART_KINDS, Key, PartReader, broker_of, key_of
from knative.readiness.parts import AppPart, missing_part, unknown_part
from knative.readiness.workloads import WORKLOADS
from knative.resources import agent, pin
from knative.resources.fields.labels import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

_OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"
_ON_NODES = (SINK_BINDING, DAEMON_SET)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppParts:
    """The parts of an app (its objects other than the function), and its inventory.

    Attributes:
        values: Objects as the API server returned them.
        parts: Readiness of the objects.
        inventory: The app's inventory, with its last deployment; None when it can't be read.
    """

    values: Sequence[Object] = ()
    parts: Sequence[AppPart] = ()
    inventory: Inventory | None = None


@dataclass(slots=True)
class _Listed:
    """The objects of a namespace that were listed, and the kinds that the user may not list.

    `hidden` has every such kind with its namespace; `unseen` has one part of state `unknown` for each such kind in the
    app's namespace, for the user to see.
    """

    values: dict[Key, Object] = field(default_factory=dict)
    unseen: list[AppPart] = field(default_factory=list)
    hidden: set[tuple[str, str]] = field(default_factory=set)

    def may_see(self, key: Key) -> bool:
        """Return whether the user may list objects of that kind in that namespace."""
        return (key[0].kind, key[2]) not in self.hidden


def read_apps(cluster: Cluster, owner: AppOwner, names: Sequence[str], *, now: float) -> dict[str, AppParts]:
    """Read the parts of some apps of a namespace, by app; unreadable parts have the state `unknown`.

    Args:
        cluster: Connection to the site's cluster.
        owner: The site, and the namespace of its agents on nodes.
        names: Names of the apps.
        now: The API server's clock, Unix seconds.

    Raises:
        ClusterError: When a request to the cluster fails.
    """
    reader = PartReader(cluster)
    listed = _list(cluster, reader, owner)
    judged = reader.read_readiness(list(listed.values.values()), now=now)
    parts = dict(zip(listed.values, judged, strict=True))
    return {name: _collect(cluster, owner, name, listed, parts) for name in names}


def _list(cluster: Cluster, reader: PartReader, owner: AppOwner) -> _Listed:
    found, unseen = reader.list_values(PART_KINDS, cluster.namespace, _OURS)
    elsewhere: list[AppPart] = []
    if owner.agents and owner.agents != cluster.namespace:
        # A user who may not list the namespace of agents gets the agents that they may see.
        there, elsewhere = reader.list_values(_ON_NODES, owner.agents, _OURS)
        found += [one for one in there if owner.has_agent(one["metadata"].get("labels") or {}, cluster.namespace)]
    hidden = {(part.kind, part.namespace) for part in [*unseen, *elsewhere]}
    return _Listed(values={key_of(value): value for value in found}, unseen=unseen, hidden=hidden)


def _collect(cluster: Cluster, owner: AppOwner, name: str, listed: _Listed, parts: dict[Key, AppPart]) -> AppParts:
    own = {key: value for key, value in listed.values.items() if _label(value, APP_LABEL) == name}
    inventory, unreadable = _read_inventory(cluster, name)
    wanted = dict.fromkeys(broker for key, value in own.items() for broker in broker_of(value, key[2]))
    wanted |= dict.fromkeys(own)
    wanted |= dict.fromkeys(_listed_parts(inventory, {cluster.namespace, owner.agents}))
    ordered = sorted(wanted, key=lambda key: PART_KINDS.index(key[0]))
    found = [parts.get(key) or missing_part(*key) for key in ordered if key in parts or listed.may_see(key)]
    return AppParts(values=list(own.values()), parts=[*found, *listed.unseen, *unreadable], inventory=inventory)


def _read_inventory(cluster: Cluster, name: str) -> tuple[Inventory | None, list[AppPart]]:
    try:
        return read_inventory(cluster, name), []
    except (DeniedError, ConflictError, InvalidError) as error:
        return None, [unknown_part(CONFIG_MAP, cluster.namespace, error.message)]


def _listed_parts(inventory: Inventory | None, namespaces: set[str]) -> Iterator[Key]:
    """Yield (kind, name, namespace) of each part that an inventory lists."""
    kinds = {item_kind(kind): kind for kind in PART_KINDS}
    for item in inventory.items if inventory is not None else ():
        if item.kind in kinds and item.namespace in namespaces:
            yield kinds[item.kind], item.name, item.namespace


def describe_part(part: AppPart, now: float) -> PartStatus:
    """Convert a part of an app to the plain values of a `PartStatus`."""
    found = part.diagnosis
    return PartStatus(
        kind=part.kind,
        name=part.name,
        namespace=part.namespace,
        component=part.component,
        state=part.state,
        pods=part.pods,
        cause=found.cause if found is not None else "",
        reason=part.reason,
        fix=found.fix if found is not None else "",
        since=part.since,
        age_s=max(0.0, now - part.since) if part.since is not None and now else None,
    )


def describe_deployment(inventory: Inventory | None, now: float) -> DeployedStatus | None:
    """Convert the last deployment in an inventory to plain values; return None when no deployment is recorded."""
    deployment = inventory.deployment if inventory is not None else None
    if deployment is None:
        return None
    return DeployedStatus(
        sequence=deployment.sequence,
        at=deployment.at,
        age_s=max(0.0, now - deployment.at),
        by=deployment.by,
        image=deployment.image,
        artifact_digest=deployment.artifact,
    )


def list_pinned(values: Iterable[Object]) -> Iterator[PinnedStatus]:
    """Yield each container image that is pinned on nodes, with its number of ready nodes."""
    for value in values:
        if value["kind"] == DAEMON_SET.kind and _label(value, PART_LABEL) == pin.PART:
            (container, *_) = value["spec"]["template"]["spec"]["containers"]
            status = value.get("status", {})
            wanted, ready = status.get("desiredNumberScheduled") or 0, status.get("numberReady") or 0
            yield PinnedStatus(image=str(container.get("image", "")), ready=int(ready), wanted=int(wanted))


def list_sources(app: AppParts) -> Iterator[str]:
    """Yield a text for each source of an app with its state, such as `inbox running (1/1)`."""
    parts = {(part.kind, part.name): part for part in app.parts}
    for value in app.values:
        if value["kind"] in WORKLOADS and _label(value, PART_LABEL) == agent.PART:
            part = parts[str(value["kind"]), str(value["metadata"]["name"])]
            state = "running" if part.state == "ready" else "starting" if part.diagnosis is None else "failed"
            counts = f" ({part.pods})" if part.pods else ""
            yield f"{_label(value, agent.SOURCE_LABEL) or part.name} {state}{counts}"


def _label(value: Object, label: str) -> str:
    return str((value["metadata"].get("labels") or {}).get(label, ""))
