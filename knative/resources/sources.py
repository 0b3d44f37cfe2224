"""Sources of eaves.yaml on a cluster: the workload of each source, its agent's settings, and its container image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any

from eaves.errors import ConfigError
from eaves.platform import SourceSpec
from eaves.redact import has_secrets
from eaves.sources.agent.configuration import ConfiguredSource, read_source
from eaves.sources.kind import load_kind
from knative.resources.pod import CREDENTIALS_FOLDER
from knative.settings import ClusterApp, KnativeSettings

CREDENTIALS = "credentials"
IMAGES = "/images"
"""Mount path in the pod of the folder that an agent reads, or of the folder with the file."""
DEVICES = "/dev/"
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
"""Suffixes of archives' file names (in upper or lower case). A source of kind `replay` reads an archive if its path has
one of them, and else a folder."""


CLAIM, NODE, SERVICE = "claim", "node", "service"
"""Kinds of workloads that run sources (`eaves.sources.kind.SourceKind.runs_as`)."""


def find_runner(source: SourceSpec) -> str:
    """Return the kind of workload for a source: the one in eaves.yaml, or the one that suits the source's kind best."""
    return source.agent or (NODE if reads_file(source) else load_kind(source.kind).runs_as[0])


def find_path(source: SourceSpec) -> str:
    """Return the path or address in eaves.yaml that a source reads; empty when there is none."""
    return str(source.options.get(load_kind(source.kind).path_setting, ""))


def reads_file(source: SourceSpec) -> bool:
    """Return whether a source reads a device or a file of its node, instead of a folder or a server."""
    return load_kind(source.kind).is_file(find_path(source))


def reads_device(source: SourceSpec) -> bool:
    """Return whether a source reads a device of its node, such as /dev/video0."""
    return reads_file(source) and find_path(source).startswith(DEVICES)


def has_device_plugin(source: SourceSpec) -> bool:
    """Return whether a source's agent gets its device from a device plugin, as a resource such as squat.ai/video."""
    limits = (source.pod.get("resources") or {}).get("limits") or {}
    return reads_file(source) and any("/" in name for name in limits)


def source_values(source: SourceSpec) -> dict[str, Any]:
    """Build the settings that a source's agent gets in a pod, with the mount paths of its volume and its Secret."""
    values = source.settings
    if find_runner(source) != SERVICE:
        values |= {load_kind(source.kind).path_setting: _path_in_pod(source)}
    if source.secret:
        values[CREDENTIALS] = CREDENTIALS_FOLDER
    return values


def _path_in_pod(source: SourceSpec) -> str:
    """Return the path that a source reads in the pod: a folder, an archive or video file in it, or a device."""
    path = PurePath(find_path(source))
    if reads_device(source):
        return str(path)
    is_archive = source.kind == "replay" and path.suffix.lower() in ARCHIVES
    return f"{IMAGES}/{path.name}" if is_archive or reads_file(source) else IMAGES


def configure(source: SourceSpec) -> ConfiguredSource:
    """Parse a source's settings the way its agent does.

    Raises:
        ConfigError: When the settings have faults, which the file eaves.yaml that was loaded doesn't have.
    """
    configured, faults = read_source(source_values(source), "eaves.yaml", "")
    if configured is None:
        raise ConfigError(faults)
    return configured


def find_secrets(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each setting whose value is an address with a password or token."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from find_secrets(value, f"{path}{name}.")
        elif isinstance(value, str) and has_secrets(value):
            yield f"{path}{name}"


def build_node_input(source: SourceSpec) -> tuple[dict[str, Any], dict[str, Any]]:
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


def find_missing_images(app: ClusterApp) -> Iterator[tuple[str, str]]:
    """Yield setting and message for each container image of agents that an app needs and that isn't set."""
    needed = {_name_image(source): source.name for source in app.sources}
    if app.relay.enabled or any(trigger.is_mqtt for trigger in app.triggers):
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
