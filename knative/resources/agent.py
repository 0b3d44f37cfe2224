"""The workload that runs a source: an agent with a queue on a volume, or on each edge node.

On one machine one agent runs all sources of an app; here each has its own, which gets only its Secret and volume.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath

from eaves.admin.report import LIVE
from eaves.config import iter_leaves
from eaves.errors import ConfigError
from eaves.platform import SourceSpec, find_timeout_s
from eaves.platform.app import NONE
from eaves.platform.quantities import find_room
from eaves.redact import has_secrets
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.kind import load_kind
from eaves.sources.settings import AgentSettings, SourceSettings
from knative.client.kinds import BROKER, DAEMON_SET, NAMESPACE, SERVICE_ACCOUNT, STATEFUL_SET, Manifest, Object
from knative.resources.eventing import relay_reference, sends_to_relay
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE, NAMESPACE_LABEL, reference
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    LISTEN_ALL,
    RELAY_FOLDER,
    RELAY_VOLUME,
    USER,
    Mounted,
    build_credentials,
    build_env,
    build_pod,
    build_security,
    common_fragment,
)
from knative.resources.workload import (
    LIVENESS_PROBE,
    METRICS_PORT,
    SPOOL,
    Workload,
    build_app_part,
    metrics_peers,
    mount_spool,
)
from knative.settings import ClusterApp, Faults, KnativeSettings

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
_PROBES = {
    "readinessProbe": {"httpGet": {"path": LIVE, "port": "metrics"}, "periodSeconds": 10, "timeoutSeconds": 5},
    "livenessProbe": LIVENESS_PROBE,
}
"""Probes of an agent. They fail until it has opened its port, and when the process must be restarted, but not when a
lane is paused or a folder is missing."""
MEMORY_BYTES = 512 * 2**20
"""Memory limit of an agent's pod, for images of up to 20 MB, the default of `max_bytes`. A larger `max_bytes` gets more
memory in proportion.

Measured: 366 MB with MQTT messages that hold such images as base64 in JSON and arrive faster than they are stored."""
PRIVILEGED = {"privileged": True, "readOnlyRootFilesystem": True, "runAsNonRoot": False, "runAsUser": 0}
"""The securityContext of a container that opens a device of its node, which no device plugin gives it.

The kernel refuses a container's access to a device, whatever its user and the device's mode, unless the runtime allows
the device in the container's cgroup. Of a pod's fields only `privileged` does so. It includes every capability and no
seccomp profile, and the API server refuses it beside `allowPrivilegeEscalation: false`.

Source: Kubernetes, pkg/apis/core/validation (`ValidateSecurityContext`); Linux, Device Whitelist Controller."""
VARIABLES = {leaf.path: leaf.env for leaf in iter_leaves(AgentSettings)}
"""Setting of an agent to its environment variable."""
_NODE_NAME = ({"name": VARIABLES["node"], "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},)
"""Variable of an agent that reads a device or file of its node, as the same source on several nodes has one name."""


def build_agents(app: ClusterApp) -> Iterator[Manifest]:
    """Build every object that runs an app's sources.

    Pod Security forbids folders of a node, so agents on nodes get a namespace of their own that allows them, and the
    app's namespace stays `restricted`. In that namespace, agents are identified by the app's namespace and not by the
    site, whose name may change.
    """
    if any(find_runner(source) == NODE for source in app.sources):
        yield _namespace(app.knative.agent_namespace)
        yield _on_nodes(app, "access").build(SERVICE_ACCOUNT, automountServiceAccountToken=False)
    for source in app.sources:
        yield from _build_agent(app, source)


def _build_agent(app: ClusterApp, source: SourceSpec) -> Iterator[Manifest]:
    """Build the objects of the agent of one source; a SinkBinding gives it its sink."""
    on_node, home = find_runner(source) == NODE, ""
    if on_node:
        home, agent = app.site.namespace, _on_nodes(app, PART, source.name)
    else:
        agent = build_app_part(app, f"{app.name}-{source.name}", PART, own={SOURCE_LABEL: source.name})
    if app.knative.network_policy:
        yield agent.build_policy((METRICS_PORT, metrics_peers(app.knative.metrics_namespaces, home=home)))
    to_relay = sends_to_relay(app, source)
    sink = relay_reference(app) if to_relay else reference(BROKER, app.knative.broker, app.site.namespace)
    yield agent.build_sink_binding(DAEMON_SET if on_node else STATEFUL_SET, sink)
    if on_node:
        selector = {"matchLabels": dict(agent.selector)}
        yield agent.build(DAEMON_SET, {"selector": selector, "template": agent.build_template(_pod(app, source))})
    else:
        yield agent.build_stateful_set(_pod(app, source), {"spool": source.spool_size})


def _on_nodes(app: ClusterApp, part: str, *source: str) -> Workload:
    """Build a part of an app in the namespace of agents on nodes: that of a source's agent, or of all."""
    own = {**({SOURCE_LABEL: source[0]} if source else {}), NAMESPACE_LABEL: app.site.namespace}
    name = build_name(app.name, app.site.namespace, *source)
    return build_app_part(app, name, part, namespace=app.knative.agent_namespace, own=own)


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


def _pod(app: ClusterApp, source: SourceSpec) -> Manifest:
    """Build the spec of an agent's pod.

    On a node, the agent is root, since the kubelet makes the spool's folder as root.
    """
    on_node, configured = find_runner(source) == NODE, configure(source)
    child = configured.kind.child_bytes(configured.settings)
    folders = _folders(app, source)
    if source.secret:
        folders.append(build_credentials(source.secret))
    if app.cloud_function:
        folders.append(build_credentials(app.relay.secret, volume=RELAY_VOLUME, folder=RELAY_FOLDER))
    container: Manifest = {**_PROBES}
    security = build_security(user=0 if on_node else None)
    if reads_device(source) and not has_device_plugin(source):
        security = PRIVILEGED
        # the default is below /dev, where the runtime can't create a file in a mount that is read-only
        container["terminationMessagePath"] = "/tmp/last-message"  # noqa: S108 - the container's own
    fields: Manifest = {"serviceAccountName": build_name(app.name, app.site.namespace) if on_node else app.name}
    if not on_node:
        fields["securityContext"] = {"fsGroup": USER}  # so that the agent's user may write the spool and read Secrets
    if child:
        fields["terminationGracePeriodSeconds"] = CHILD_STOP_S
    return build_pod(
        CONTAINER,
        find_agent_image(source, app.knative),
        common_fragment(app.pod, source.pod),
        env=[*build_variables(app, source), *(_NODE_NAME if on_node and reads_file(source) else ())],
        ports={"metrics": METRICS_PORT},
        resources=_resources(configured.common.max_bytes, child),
        folders=folders,
        security=security,
        container=container,
        **fields,
    )


def _folders(app: ClusterApp, source: SourceSpec) -> list[Mounted]:
    """Return volume and mount of what the agent reads, unless a device plugin gives it the device, and of its spool."""
    spool, runner = mount_spool(), find_runner(source)
    if runner == CLAIM:
        volume = {"name": "images", "persistentVolumeClaim": {"claimName": source.claim, "readOnly": True}}
        return [(volume, {"name": "images", "mountPath": IMAGES, "readOnly": True}), spool]
    if runner != NODE:
        return [spool]
    path = f"{NODE_SPOOLS}/{app.site.namespace}/{app.name}/{source.name}"
    kept = {"name": "spool", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
    return [*([] if has_device_plugin(source) else [build_node_input(source)]), (kept, spool[1])]


def _resources(max_bytes: int, child: int) -> dict[str, dict[str, str]]:
    """Build requests and limits; a source that starts a process for its images may use the memory of both."""
    limit = math.ceil((MEMORY_BYTES * max(1.0, max_bytes / SourceSettings().max_bytes) + child) / 2**20)
    requests = {"cpu": "100m", "memory": "192Mi"} if child else {"cpu": "20m", "memory": "64Mi"}
    return {"requests": requests, "limits": {"memory": f"{limit}Mi"}}


def _namespace(name: str) -> Manifest:
    """Build the namespace of the agents on nodes.

    All apps share it, so it has no app's label, and `remove` doesn't delete it.
    """
    labels = {MANAGED_LABEL: MANAGED_VALUE, "pod-security.kubernetes.io/enforce": "privileged"}
    return {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": name, "labels": labels}}


def build_variables(app: ClusterApp, source: SourceSpec) -> list[Manifest]:
    """Build an agent's environment variables.

    Their number and order are always the same, with defaults for unused ones.

    Knative's SinkBinding controller appends the variable `K_SINK`, and later changes it by its position in its own copy
    of the list. If the deploy that changes the sink also added a variable, the controller would write the new sink into
    another variable.

    Source: knative.dev/pkg, webhook/psbinding/reconciler.go (`ReconcileSubject`: a JSON patch without a test of the old
    value); seen with Eventing 1.22.
    """
    cloud, namespace = app.cloud_function, app.site.namespace
    to_relay = sends_to_relay(app, source) and not cloud
    timeout_s = find_timeout_s(app.function.scale.start_timeout_s) if cloud else AgentSettings().timeout_s
    values = {
        "sources": json.dumps([source_values(source)]),
        "site": app.function.site,
        "spool": f"{SPOOL}/agent.db",
        "host": LISTEN_ALL,
        "port": str(METRICS_PORT),
        **find_room(source.spool_size),
        "function_credentials": RELAY_FOLDER if cloud else "",
        "timeout_s": f"{timeout_s:g}",
        "forward_images": app.relay.forward_images if to_relay else NONE,
        "choose": app.choose.settings if to_relay and app.chooses else "",
    }
    variables: list[Manifest] = [*build_env({VARIABLES[path]: value for path, value in values.items()})]
    address = cloud.replace("$", "$$")
    if not cloud and source.through == "function":
        address = f"http://{app.name}.{namespace or '$(NAMESPACE)'}.svc/"
    if not namespace:  # the namespace in the URL is then that of the pod
        variables.append({"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}})
    return [*variables, {"name": VARIABLES["function"], "value": address}]


CREDENTIALS = "credentials"
IMAGES = "/images"
"""Mount path in the pod of the folder that an agent reads, or of the folder with the file."""
DEVICES = "/dev/"


CLAIM, NODE, SERVICE = "claim", "node", "service"
"""Kinds of workloads that run sources (`eaves.sources.kind.SourceKind.runs_as`)."""


def find_runner(source: SourceSpec) -> str:
    """Return the kind of workload for a source: the one in eaves.yaml, or the one that suits the source's kind best."""
    return source.agent or (NODE if reads_file(source) else load_kind(source.kind).runs_as[0])


def find_path(source: SourceSpec) -> str:
    """Return the path or address in eaves.yaml that a source reads; empty when there is none."""
    return str(source.options.get(load_kind(source.kind).place_setting, ""))


def reads_file(source: SourceSpec) -> bool:
    """Return whether a source reads a device or a file of its node, instead of a folder or a server."""
    kind = load_kind(source.kind)
    return CLAIM not in kind.runs_as and kind.is_file(find_path(source))


def reads_device(source: SourceSpec) -> bool:
    """Return whether a source reads a device of its node, such as /dev/video0."""
    return reads_file(source) and find_path(source).startswith(DEVICES)


def has_device_plugin(source: SourceSpec) -> bool:
    """Return whether a source's agent gets its device from a device plugin, as a resource such as squat.ai/video."""
    limits = (source.pod.get("resources") or {}).get("limits") or {}
    return reads_file(source) and any("/" in name for name in limits)


def source_values(source: SourceSpec) -> Manifest:
    """Build the settings that a source's agent gets in a pod, with the mount paths of its volume and its Secret."""
    values = source.settings
    if find_runner(source) != SERVICE:
        values |= {load_kind(source.kind).place_setting: _path_in_pod(source)}
    if source.secret:
        values[CREDENTIALS] = CREDENTIALS_FOLDER
    return values


def _path_in_pod(source: SourceSpec) -> str:
    """Return the path that a source reads in the pod: a folder, an archive or video file in it, or a device."""
    path = PurePath(find_path(source))
    if reads_device(source):
        return str(path)
    return f"{IMAGES}/{path.name}" if load_kind(source.kind).is_file(str(path)) else IMAGES


def configure(source: SourceSpec) -> ConfiguredSource:
    """Parse a source's settings the way its agent does."""
    configured, faults = read_source(source_values(source), "eaves.yaml", "")
    if configured is None:
        raise ConfigError(faults)
    return configured


def find_secrets(values: Object, path: str = "") -> Iterator[str]:
    """Yield the path of each setting whose value is an address with a password or token."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from find_secrets(value, f"{path}{name}.")
        elif isinstance(value, str) and has_secrets(value):
            yield f"{path}{name}"


def build_node_input(source: SourceSpec) -> tuple[Manifest, Manifest]:
    """Build (volume, mount) of the folder, file or device of the node that a source reads.

    The kubelet never makes the folder: with a mistyped path the pod waits, and says so, until the folder exists.

    For a device, the mount is the node's whole folder of devices. A mount of the device alone would keep a pod from
    starting while the device is missing (type `CharDevice`), or create a folder in its place (no type), and it would
    not follow a device that is unplugged and plugged in again. A mount that is read-only still lets devices be written
    to, as a camera's settings are.
    """
    path, mounted = find_path(source), IMAGES
    if reads_device(source):
        path = mounted = DEVICES.rstrip("/")
    elif reads_file(source):
        path = str(PurePosixPath(path).parent)
    volume = {"name": "images", "hostPath": {"path": path, "type": "Directory"}}
    return volume, {"name": "images", "mountPath": mounted, "readOnly": True}


def _name_image(source: SourceSpec) -> str:
    """Return the setting in the section `knative` of the container image of a source's agent, by the extra it needs."""
    extra = load_kind(source.kind).extra or ("s3" if source.options.get("claim_check_bucket") else "")
    return f"agent_{extra}_image" if extra else "agent_image"


def find_agent_image(source: SourceSpec, settings: KnativeSettings) -> str:
    """Return the container image of a source's agent; empty when it isn't set."""
    return str(getattr(settings, _name_image(source)))


def find_missing_images(app: ClusterApp) -> Faults:
    """Yield setting and message for each container image of agents that an app needs and that isn't set."""
    needed = {_name_image(source): source.name for source in app.sources}
    if app.relay.enabled or any(trigger.needs_publisher for trigger in app.triggers):
        needed["agent_image"] = ""
    for setting, name in sorted(needed.items()):
        if getattr(app.knative, setting):
            continue
        target = setting.removesuffix("_image").replace("_", "-")
        message = (
            f"must name the container image of the Dockerfile's target {target} by digest, because sources such as "
        )
        if setting == "agent_image":
            yield setting, "must be set if the app has sources, a relay, or triggers that publish to MQTT"
        else:
            yield setting, f"{message}{name} need it"
