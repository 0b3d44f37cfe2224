"""Mounting of what an agent reads on its node: a folder, a file, or a device."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

FOLDER = "/images"
"""Mount path in the pod of the folder that an agent reads, or of the folder with the file."""
VOLUME = "images"
DEVICES = "/dev"


def is_device(path: str) -> bool:
    """Return whether a path on a node is that of a device."""
    return path.startswith(f"{DEVICES}/")


def find_path_in_pod(path: str, *, is_file: bool) -> str:
    """Return the path in the pod of a folder, file or device of the node. A device keeps its path."""
    if is_device(path) and is_file:
        return path
    return f"{FOLDER}/{PurePosixPath(path).name}" if is_file else FOLDER


def build_node_input(path: str, *, is_file: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build (volume, mount) of a folder, file or device of the node.

    For a device, the mount is the node's whole folder of devices. A mount of the device alone would keep a pod from
    starting while the device is missing (type `CharDevice`), or create a folder in its place (no type), and it would
    not follow a device that is unplugged and plugged in again. A mount that is read-only still lets devices be written
    to, as a camera's settings are.

    Args:
        path: Absolute path on the node.
        is_file: Whether it is the path of a file or device, and not of a folder.
    """
    if is_file and is_device(path):
        volume: dict[str, Any] = {"name": VOLUME, "hostPath": {"path": DEVICES, "type": "Directory"}}
        return volume, {"name": VOLUME, "mountPath": DEVICES, "readOnly": True}
    folder = str(PurePosixPath(path).parent) if is_file else path
    return build_folder(VOLUME, folder), {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}


def build_folder(name: str, path: str) -> dict[str, Any]:
    """Build a volume that is a folder of the node; the kubelet creates the folder if it doesn't exist."""
    return {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
