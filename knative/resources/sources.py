"""Sources of eaves.yaml on a cluster: the workload of each source, its agent's settings, and its addresses."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any

from eaves.credentials.redact import has_secrets
from eaves.errors import EavesError, NotFoundError
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.agent.kinds import load_kind
from eaves.sources.kind import AnyKind
from eaves.sources.settings import SourceSettings
from knative.resources.pod import CREDENTIALS_FOLDER
from knative.settings import KnativeSettings
from knative.specs import ClusterApp, ClusterSource

CREDENTIALS = "credentials"
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
"""Suffixes of archives' file names (in upper or lower case). A source of kind `replay` reads an archive if its path has
one of them, and else a folder."""


class SourceRunner(enum.StrEnum):
    """Kind of the workload that runs a source (`eaves.sources.kind.SourceKind.runs_as`)."""

    CLAIM = "claim"
    NODE = "node"
    READER = "reader"
    SERVICE = "service"


def find_runner(source: ClusterSource) -> SourceRunner:
    """Return the kind of workload for a source: the one in eaves.yaml, or the one that suits the source's kind best.

    Rendering reports a source whose kind isn't installed here (`knative.resources.faults`). Before that, this function
    returns `SERVICE` for such a source.
    """
    kind = _find_kind(source)
    if kind is None:
        return SourceRunner.SERVICE
    try:
        usual = SourceRunner.NODE if reads_file(source) else kind.runs_as[0]
        return SourceRunner(source.agent or usual)
    except ValueError:
        return SourceRunner.SERVICE


def _find_kind(source: ClusterSource) -> AnyKind | None:
    try:
        return load_kind(source.kind)
    except NotFoundError:
        return None


def find_path(source: ClusterSource) -> str:
    """Return the path or address in eaves.yaml that a source reads; empty when there is none."""
    kind = _find_kind(source)
    return str(source.options.get(kind.path_setting if kind else "path", ""))


def reads_file(source: ClusterSource) -> bool:
    """Return whether a source reads a device or a file of its node, instead of a folder or a server."""
    kind = _find_kind(source)
    return kind is not None and kind.is_file(find_path(source))


def has_device_plugin(source: ClusterSource) -> bool:
    """Return whether a source's agent gets its device from a device plugin, as a resource such as squat.ai/video."""
    limits = (source.pod.get("resources") or {}).get("limits") or {}
    return reads_file(source) and any("/" in name for name in limits)


def find_extra(source: ClusterSource) -> str:
    """Return the extra of Eaves that a source's agent needs; empty when a plain agent suffices."""
    kind = _find_kind(source)
    extra = kind.extra if kind else ""
    return extra or ("s3" if source.options.get("claim_check_bucket") else "")


def source_values(source: ClusterSource) -> dict[str, Any]:
    """Build the settings that a source's agent gets in a pod, with the mount paths of its volume and its Secret."""
    values, kind = source.settings, _find_kind(source)
    if kind is not None and find_runner(source) is not SourceRunner.SERVICE:
        values |= {kind.path_setting: _path_in_pod(source)}
    if kind is not None and values.get(kind.port_setting):
        values |= {kind.host_setting: "0.0.0.0"}  # noqa: S104 - the pod's own; a Service leads to it
    if source.secret:
        values[CREDENTIALS] = CREDENTIALS_FOLDER
    return values


def _path_in_pod(source: ClusterSource) -> str:
    """Return the path that a source reads in the pod: a folder, an archive or video file in it, or a device."""
    if reads_file(source):
        return find_path_in_pod(find_path(source), is_file=True)
    path = PurePath(find_path(source))
    return f"{IMAGES}/{path.name}" if source.kind == "replay" and path.suffix.lower() in ARCHIVES else IMAGES


def source_addresses(source: ClusterSource) -> Iterator[str]:
    """Yield the addresses of a source, `HOST:PORT` or `tls://HOST:PORT`; none while its settings have faults."""
    configured = _configure(source)
    if configured is not None:
        yield from configured.kind.addresses(configured.settings)
        yield from configured.claims.addresses()


def source_references(source: ClusterSource) -> tuple[str, ...]:
    """Return the URLs of the buckets that a source's events refer to; none while its settings have faults."""
    configured = _configure(source)
    return configured.reference_urls() if configured is not None else ()


def largest_image(source: ClusterSource) -> int:
    """Return the bytes of the largest image that a source captures; the default while its settings have faults."""
    configured = _configure(source)
    return (configured.common if configured is not None else SourceSettings()).max_bytes


def find_child_bytes(source: ClusterSource) -> int:
    """Return the memory that the processes that a source starts may use, bytes; 0 while its settings have faults."""
    configured = _configure(source)
    return configured.kind.child_bytes(configured.settings) if configured is not None else 0


def find_listening_port(source: ClusterSource) -> int:
    """Return the TCP port on which a source takes requests; 0 for none, and while its settings have faults."""
    configured = _configure(source)
    if configured is None or not configured.kind.port_setting:
        return 0
    return int(getattr(configured.settings, configured.kind.port_setting))


def _configure(source: ClusterSource) -> ConfiguredSource | None:
    """Parse a source's settings the way its agent does; return None while they have faults."""
    try:
        configured, _ = read_source(source_values(source), "eaves.yaml", "")
    except EavesError:
        return None
    return configured


def find_secrets(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each setting whose value is an address with a password or token."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from find_secrets(value, f"{path}{name}.")
        elif isinstance(value, str) and has_secrets(value):
            yield f"{path}{name}"


IMAGES = "/images"
"""Mount path in the pod of the folder that an agent reads, or of the folder with the file."""
DEVICES = "/dev"


def is_device(path: str) -> bool:
    """Return whether a path on a node is that of a device."""
    return path.startswith(f"{DEVICES}/")


def find_path_in_pod(path: str, *, is_file: bool) -> str:
    """Return the path in the pod of a folder, file or device of the node. A device keeps its path."""
    if is_device(path) and is_file:
        return path
    return f"{IMAGES}/{PurePosixPath(path).name}" if is_file else IMAGES


def build_node_input(path: str, *, is_file: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build (volume, mount) of a folder, file or device of the node.

    The kubelet never makes the folder: with a mistyped path the pod waits, and says so, until the folder exists.

    For a device, the mount is the node's whole folder of devices. A mount of the device alone would keep a pod from
    starting while the device is missing (type `CharDevice`), or create a folder in its place (no type), and it would
    not follow a device that is unplugged and plugged in again. A mount that is read-only still lets devices be written
    to, as a camera's settings are.

    Args:
        path: Absolute path on the node.
        is_file: Whether it is the path of a file or device, and not of a folder.
    """
    if is_file and is_device(path):
        volume: dict[str, Any] = {"name": "images", "hostPath": {"path": DEVICES, "type": "Directory"}}
        return volume, {"name": "images", "mountPath": DEVICES, "readOnly": True}
    folder = str(PurePosixPath(path).parent) if is_file else path
    volume = {"name": "images", "hostPath": {"path": folder, "type": "Directory"}}
    return volume, {"name": "images", "mountPath": IMAGES, "readOnly": True}


SETTINGS: Mapping[str, str] = {
    "": "agent_image",
    "camera": "agent_camera_image",
    "s3": "agent_s3_image",
}
"""Setting in the section `knative` of the container image, by the extra of Eaves that it includes."""
TARGETS: Mapping[str, str] = {"": "agent", "camera": "agent-camera", "s3": "agent-s3"}
"""Target of the Dockerfile of each container image, by the extra of Eaves that it includes."""


def find_agent_image(source: ClusterSource, settings: KnativeSettings) -> str:
    """Return the container image of a source's agent; empty when it isn't set."""
    return str(getattr(settings, SETTINGS[find_extra(source)]))


def find_any_agent_image(settings: KnativeSettings) -> str:
    """Return the smallest container image of agents that is set; empty when none is."""
    return next(filter(None, (str(getattr(settings, name)) for name in SETTINGS.values())), "")


def find_missing_images(app: ClusterApp, settings: KnativeSettings) -> Iterator[tuple[str, str]]:
    """Yield setting and message for each container image of agents that an app needs and that isn't set."""
    extras = {source.name: find_extra(source) for source in app.sources}
    plain = "" in extras.values() or app.relay.enabled or any(trigger.is_mqtt for trigger in app.triggers)
    if plain and not settings.agent_image:
        yield SETTINGS[""], "must be set if the app has sources, a relay, or triggers that publish to MQTT"
    for extra, setting in SETTINGS.items():
        names = [name for name, needed in extras.items() if needed == extra]
        if extra and names and not getattr(settings, setting):
            sources = f"sources such as {names[0]}"
            target = f"the Dockerfile's target {TARGETS[extra]}"
            yield setting, f"must name the container image of {target} by digest, because {sources} need it"
