"""Objects of earlier versions of Eaves that kept no inventory, found by their labels and their field manager.

Those versions named agents on nodes after the site, in a namespace that apps of several namespaces share. Only the
address that an agent sends events to shows which namespace the agent belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eaves.errors import ConflictError, DeniedError
from knative.client.kinds import DAEMON_SET, SERVICE_ACCOUNT, SINK_BINDING, ObjectKind
from knative.deploy.objects.labelled_objects import AppOwner, is_applied_by_eaves, is_training
from knative.resources.fields.labels import APP_LABEL, NAMESPACE_LABEL, SITE_LABEL
from knative.settings import KnativeSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
_SOURCE_LABEL = "eaves.dev/source"
_FUNCTION = "EAVES_FUNCTION_URL"


def find_legacy_objects(cluster: Cluster, owner: AppOwner, labelled: Sequence[Object]) -> list[Object]:
    """Find the objects of an app that Eaves applied without an inventory.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        labelled: Objects with the app's labels that the caller has listed already.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    known = [one for one in labelled if is_applied_by_eaves(one) and not is_training(one)]
    return [*known, *_find_agents(cluster, owner)]


def refuse_former_sites(
    cluster: Cluster, owner: AppOwner, former: Sequence[Object], manifests: Sequence[Object]
) -> None:
    """Raise an error when an agent on nodes still runs under an earlier name of the site.

    Earlier versions of Eaves named an agent's spool after its site. The new agent opens the spool of the present name,
    so the images that wait in the old spool would stay there.

    Raises:
        ConflictError: When an agent of a former site still runs a source that is deployed.
    """
    wanted = {_label(one, _SOURCE_LABEL) for one in manifests if one["kind"] == DAEMON_SET.kind}
    for one in former:
        site, metadata = _label(one, SITE_LABEL), one["metadata"]
        agent = one["kind"] == DAEMON_SET.kind and not _label(one, NAMESPACE_LABEL)
        if agent and _label(one, _SOURCE_LABEL) in wanted - {""} and site != owner.site:
            where = f"--context {cluster.name} -n {metadata['namespace']}"
            raise ConflictError(
                f"{cluster.name}: the agent {metadata['name']} still runs under the site's earlier name {site}, "
                f"which is now {owner.site}; the images in its queue would be left on the nodes",
                hint=f"deploy once with the site name {site}, which takes the queue over; or, if the queue is "
                f"empty, run kubectl {where} delete daemonset,sinkbinding {metadata['name']}",
            )


def _find_agents(cluster: Cluster, owner: AppOwner) -> Iterator[Object]:
    """Yield the app's agents on nodes, their SinkBindings, and their ServiceAccounts.

    A ServiceAccount is left out if an agent of another namespace uses it too.
    """
    bindings = {_place(one): one for one in _list(cluster, SINK_BINDING, owner)}
    agents = _list(cluster, DAEMON_SET, owner)
    homes = {_place(one): _home(one, bindings.get(_place(one))) for one in agents}
    ours = [one for one in agents if homes[_place(one)] == cluster.namespace]
    yield from ours
    yield from (bindings[_place(one)] for one in ours if _place(one) in bindings)
    used = {_account(one) for one in agents if homes[_place(one)] != cluster.namespace}
    free = {_account(one) for one in ours} - used
    yield from (one for one in _list(cluster, SERVICE_ACCOUNT, owner) if _place(one) in free)


def _list(cluster: Cluster, kind: ObjectKind, owner: AppOwner) -> list[dict[str, Any]]:
    """List objects of earlier versions of Eaves outside the app's namespace, as far as the user may list them."""
    selector = f"{APP_LABEL}={owner.app},!{NAMESPACE_LABEL}"
    try:
        found = cluster.list(kind, namespace="", selector=selector)
    except DeniedError:
        found = []
        for namespace in dict.fromkeys((owner.agents, KnativeSettings().agent_namespace)):
            try:
                found += cluster.list(kind, namespace=namespace, selector=selector) if namespace else []
            except DeniedError:
                continue
    return [one for one in found if _place(one)[0] != cluster.namespace and is_applied_by_eaves(one)]


def _home(agent: Object, binding: Object | None) -> str:
    """Return the namespace of the app of an agent, which is that of the function or Broker that the agent sends to."""
    for container in agent["spec"]["template"]["spec"]["containers"]:
        for entry in container.get("env") or ():
            if entry["name"] == _FUNCTION and entry.get("value"):
                host = urlsplit(str(entry["value"])).hostname or ""
                return host.split(".")[1] if host.count(".") > 1 else ""
    return str((binding or {}).get("spec", {}).get("sink", {}).get("ref", {}).get("namespace", ""))


def _account(agent: Object) -> tuple[str, str]:
    return str(agent["metadata"]["namespace"]), str(agent["spec"]["template"]["spec"].get("serviceAccountName", ""))


def _place(one: Object) -> tuple[str, str]:
    return str(one["metadata"]["namespace"]), str(one["metadata"]["name"])


def _label(one: Object, name: str) -> str:
    return str((one["metadata"].get("labels") or {}).get(name, ""))
