"""The workload that runs a source: an agent with a queue on a volume, on each edge node, or without a queue."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from eaves.admin.agent import LIVE
from eaves.sources.settings import SourceSettings
from knative.client.kinds import (
    BROKER,
    CONTAINER_SOURCE,
    DAEMON_SET,
    NAMESPACE,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    ObjectKind,
)
from knative.resources.app.agent_images import find_agent_image
from knative.resources.app.agent_variables import METRICS_PORT, SPOOL, VARIABLES, build_variables
from knative.resources.app.sources import (
    SourceRunner,
    find_child_bytes,
    find_path,
    find_runner,
    largest_image,
    reads_file,
)
from knative.resources.fields.credentials import RELAY_FOLDER, RELAY_VOLUME, build_credentials
from knative.resources.fields.labels import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, NAMESPACE_LABEL
from knative.resources.fields.metadata import build_object, reference
from knative.resources.fields.node_inputs import FOLDER as IMAGES
from knative.resources.fields.node_inputs import build_folder, build_node_input, is_device
from knative.resources.fields.pod import (
    USER,
    build_privileged_security,
    build_pull_secrets,
    build_security,
    build_temporary,
)
from knative.resources.fields.quantities import show_memory
from knative.resources.relay import relay_reference, sends_to_relay
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterSource

PART = "source"
SOURCE_LABEL = "eaves.dev/source"
CONTAINER = "agent"
NODE_SPOOLS = "/var/lib/eaves"
"""Folder of a node with the spools of agents, `NAMESPACE/APP/SOURCE`."""
MAX_NAME = 63
"""Maximum characters of a name that is also the value of a label. Source: Kubernetes, Labels and Selectors."""
_DIGEST = 8
"""Number of hexadecimal digits at the end of a name that would be too long or not unique."""
CHILD_STOP_S = 10
"""Seconds that the agent of a source with a child process gets to end. It takes 3 s at most, and its spool survives a
kill. A pod that is replaced before its process can take a signal, as when its sink is set, would else stay for 30 s."""
_LIVENESS = {
    "httpGet": {"path": LIVE, "port": "metrics"},
    "periodSeconds": 30,
    "timeoutSeconds": 5,
    "failureThreshold": 20,  # 10 minutes: reading a damaged spool of gigabytes may take that long before the port opens
}
"""Liveness probe of an agent. It fails only when the process must be restarted, and not when a lane is paused or a
folder is missing.

There is no readiness or startup probe: a StatefulSet replaces no pod that isn't ready, and the first pod may have been
created before the SinkBinding set its sink.
"""
MEMORY_BYTES = 512 * 2**20
"""Memory limit of an agent's pod, for images of up to 20 MB, the default of `max_bytes`. A larger `max_bytes` gets more
memory in proportion.

Measured: 366 MB with MQTT messages that hold such images as base64 in JSON and arrive faster than they are stored."""


def build_agents(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    """Build every object that runs an app's sources.

    The SinkBinding comes before the workload that it binds. So the workload starts only once, with its sink.
    """
    builders = {
        SourceRunner.CLAIM: _with_spool,
        SourceRunner.SERVICE: _with_spool,
        SourceRunner.NODE: _on_nodes,
        SourceRunner.READER: _reading,
    }
    if any(find_runner(source) is SourceRunner.NODE for source in app.sources):
        yield _namespace(settings.agent_namespace)
        account = build_object(
            SERVICE_ACCOUNT,
            build_name(app.function.name, site.namespace),
            app,
            site,
            "access",
            namespace=settings.agent_namespace,
            more_labels=_home(site),
        )
        yield {**account, "automountServiceAccountToken": False}
    for source in app.sources:
        yield from builders[find_runner(source)](app, source, settings, site)


def agent_name(app: ClusterApp, source: ClusterSource) -> str:
    """Return the name of the agent that runs a source."""
    return f"{app.function.name}-{source.name}"


def build_name(*parts: str) -> str:
    """Build the name of an object in the namespace of agents on nodes, which apps of many namespaces share.

    Different parts give different names: if a part contains a dash, or the name is too long, the name ends with a
    digest of the parts.

    Args:
        parts: The app, its namespace, and the source if the object belongs to one.
    """
    name = "-".join(parts)
    if len(name) <= MAX_NAME and not any("-" in part for part in parts):
        return name
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_NAME - 1 - _DIGEST].rstrip('-')}-{digest}"


def _with_spool(
    app: ClusterApp, source: ClusterSource, settings: KnativeSettings, site: SiteSettings
) -> Iterator[dict[str, Any]]:
    """Build an agent as a StatefulSet, which keeps the volume of the agent's spool.

    For a source without a watched folder, the StatefulSet has `podManagementPolicy: Parallel`.
    """
    reads = find_runner(source) is SourceRunner.CLAIM
    name = agent_name(app, source)
    yield _binding(app, source, settings, site, STATEFUL_SET, site.namespace, name)
    spool = {
        "metadata": {"name": "spool"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": source.spool_size}}},
    }
    pod = _pod(app, source, settings, site)
    pod["securityContext"] = {"fsGroup": USER}  # so that the agent's user may write the spool's volume
    if reads:
        pod["volumes"].append(_claim(source))
    yield {
        **build_object(STATEFUL_SET, name, app, site, PART, more_labels=_source_label(source)),
        "spec": {
            "replicas": 1,
            "serviceName": name,
            **({} if reads else {"podManagementPolicy": "Parallel"}),
            "selector": {"matchLabels": _selector(app, source)},
            "template": {"metadata": {"labels": _labels(app, source, site)}, "spec": pod},
            "volumeClaimTemplates": [spool],
        },
    }


def _on_nodes(
    app: ClusterApp, source: ClusterSource, settings: KnativeSettings, site: SiteSettings
) -> Iterator[dict[str, Any]]:
    """Build the DaemonSet of an agent that runs on each edge node, where it reads its images and keeps its spool.

    Pod Security forbids folders of a node, so these agents get a namespace of their own that allows them, and the app's
    namespace stays `restricted`. In that namespace, agents are identified by the app's namespace and not by the site,
    whose name may change.
    """
    app_name, namespace = app.function.name, settings.agent_namespace
    name, home = build_name(app_name, site.namespace, source.name), _home(site)
    yield _binding(app, source, settings, site, DAEMON_SET, namespace, name)
    pod = _pod(app, source, settings, site, user=0)  # the kubelet makes the spool's folder as root
    pod["serviceAccountName"] = build_name(app_name, site.namespace)
    spool = build_folder("spool", f"{NODE_SPOOLS}/{site.namespace}/{app_name}/{source.name}")
    if reads_file(source):
        _add_file(pod, source, spool)
    else:
        _add_folder(pod, source, spool)
    if selector := {**site.selector, **source.nodes}:
        pod["nodeSelector"] = selector
    labels = {**_source_label(source), **home}
    yield {
        **build_object(DAEMON_SET, name, app, site, PART, namespace=namespace, more_labels=labels),
        "spec": {
            "selector": {"matchLabels": {**_selector(app, source), **home}},
            "template": {"metadata": {"labels": {**_labels(app, source, site), **home}}, "spec": pod},
        },
    }


def _add_folder(pod: dict[str, Any], source: ClusterSource, spool: Mapping[str, Any]) -> None:
    """Add to a pod the folder of the node that the agent watches, and its spool."""
    (container,) = pod["containers"]
    volume, mount = build_node_input(find_path(source), is_file=False)
    container["volumeMounts"].insert(1, mount)
    pod["volumes"] += [volume, spool]


def _add_file(pod: dict[str, Any], source: ClusterSource, spool: Mapping[str, Any]) -> None:
    """Add to a pod the device or file of the node that the agent reads, and its spool.

    The agent gets the node's name, as the same source on several nodes has the same name. A device comes from a device
    plugin, or the container is privileged. The kubelet's file for a last message has a path outside /dev, as the
    runtime can't create it in a mount that is read-only, and the container wouldn't start.
    """
    (container,) = pod["containers"]
    node = {"name": VARIABLES["node"], "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    container["env"].append(node)
    if source.device_resource:
        for share in ("requests", "limits"):
            container["resources"][share][source.device_resource] = "1"
        pod["volumes"].append(spool)
        return
    volume, mount = build_node_input(find_path(source), is_file=True)
    container["volumeMounts"].insert(1, mount)
    pod["volumes"] += [volume, spool]
    if is_device(find_path(source)):
        container["securityContext"] = build_privileged_security()
        container["terminationMessagePath"] = "/tmp/last-message"  # noqa: S108 - the container's own


def _reading(
    app: ClusterApp, source: ClusterSource, settings: KnativeSettings, site: SiteSettings
) -> Iterator[dict[str, Any]]:
    """Build an agent without a durable queue. After a restart it sends all images again, under the same event ids."""
    pod = _pod(app, source, settings, site)
    if any("secret" in volume for volume in pod["volumes"]):
        pod["securityContext"] = {"fsGroup": USER}
    pod["volumes"] += [_claim(source), {"name": "spool", "emptyDir": {"sizeLimit": source.spool_size}}]
    made = build_object(CONTAINER_SOURCE, agent_name(app, source), app, site, PART, more_labels=_source_label(source))
    template = {"metadata": {"labels": _labels(app, source, site)}, "spec": pod}
    yield {**made, "spec": {"sink": _sink(app, source, settings, site), "template": template}}


def _pod(
    app: ClusterApp, source: ClusterSource, settings: KnativeSettings, site: SiteSettings, *, user: int | None = None
) -> dict[str, Any]:
    volume, mount = build_temporary()
    volumes, mounts = [volume], [mount, {"name": "spool", "mountPath": SPOOL}]
    if find_runner(source) in {SourceRunner.CLAIM, SourceRunner.READER}:
        mounts.insert(1, {"name": "images", "mountPath": IMAGES, "readOnly": True})
    if source.secret:
        secret, folder = build_credentials(source.secret)
        volumes.append(secret)
        mounts.append(folder)
    if app.cloud_function:
        secret, folder = build_credentials(app.relay.secret, volume=RELAY_VOLUME, folder=RELAY_FOLDER)
        volumes.append(secret)
        mounts.append(folder)
    container = {
        "name": CONTAINER,
        "image": find_agent_image(source, settings),
        "env": build_variables(app, source, site),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "livenessProbe": _LIVENESS,
        "resources": _resources(source),
        "securityContext": build_security(user=user),
        "volumeMounts": mounts,
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": app.function.name,
        **build_pull_secrets(settings),
        **({"terminationGracePeriodSeconds": CHILD_STOP_S} if find_child_bytes(source) else {}),
        "containers": [container],
        "volumes": volumes,
    }


def _resources(source: ClusterSource) -> dict[str, dict[str, str]]:
    """Build requests and limits; a source that starts a process for its images may use the memory of both."""
    share, child = max(1.0, largest_image(source) / SourceSettings().max_bytes), find_child_bytes(source)
    limit = show_memory(math.ceil((MEMORY_BYTES * share + child) / 2**20) * 2**20)
    requests = {"cpu": "100m", "memory": "192Mi"} if child else {"cpu": "20m", "memory": "64Mi"}
    return {"requests": requests, "limits": {"memory": limit}}


def _binding(
    app: ClusterApp,
    source: ClusterSource,
    settings: KnativeSettings,
    site: SiteSettings,
    kind: ObjectKind,
    namespace: str,
    name: str,
) -> dict[str, Any]:
    """Build the SinkBinding that sets the agent's sink (`K_SINK`)."""
    subject = reference(kind, name, namespace)
    labels = _home(site) if namespace != site.namespace else {}
    made = build_object(SINK_BINDING, name, app, site, PART, namespace=namespace, more_labels=labels)
    return {**made, "spec": {"subject": subject, "sink": _sink(app, source, settings, site)}}


def _sink(app: ClusterApp, source: ClusterSource, settings: KnativeSettings, site: SiteSettings) -> dict[str, Any]:
    """Return the sink of an agent's events: the relay, which passes a copy to the Broker, or the Broker itself."""
    if sends_to_relay(app, source):
        return {"ref": relay_reference(app, site)}
    return {"ref": reference(BROKER, settings.broker, site.namespace)}


def _claim(source: ClusterSource) -> dict[str, Any]:
    return {"name": "images", "persistentVolumeClaim": {"claimName": source.claim, "readOnly": True}}


def _namespace(name: str) -> dict[str, Any]:
    """Build the namespace of the agents on nodes.

    All apps share it, so it has no app's label, and `remove` doesn't delete it.
    """
    labels = {MANAGED_LABEL: MANAGED_VALUE, "pod-security.kubernetes.io/enforce": "privileged"}
    return {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": name, "labels": labels}}


def _selector(app: ClusterApp, source: ClusterSource) -> dict[str, str]:
    return {APP_LABEL: app.function.name, SOURCE_LABEL: source.name}


def _labels(app: ClusterApp, source: ClusterSource, site: SiteSettings) -> dict[str, str]:
    made = build_object(STATEFUL_SET, agent_name(app, source), app, site, PART, more_labels=_source_label(source))
    return dict(made["metadata"]["labels"])


def _source_label(source: ClusterSource) -> dict[str, str]:
    return {SOURCE_LABEL: source.name}


def _home(site: SiteSettings) -> dict[str, str]:
    """Build the label with the app's namespace, for objects in the namespace of the agents on nodes."""
    return {NAMESPACE_LABEL: site.namespace}
