"""Mounting of a Secret in a pod as a folder of files, which `eaves.credentials` reads."""

from __future__ import annotations

from typing import Any

FOLDER = "/credentials"
"""Mount path of the folder in the pod."""
VOLUME = "credentials"
RELAY_FOLDER, RELAY_VOLUME = "/relay-credentials", "relay-credentials"
"""Mount path and volume of the relay's credentials in an agent's pod. They differ from those of the agent's own
credentials."""
VOLUMES = (VOLUME, RELAY_VOLUME)
OWNER_READS, READABLE = 0o400, 0o444
"""Modes of the files: for the owner and the group only, and for every user of the container. Knative allows no
`fsGroup` without a feature flag, so a function's process, which isn't root, needs the second."""


def build_credentials(
    secret: str, *, volume: str = VOLUME, folder: str = FOLDER, mode: int = OWNER_READS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build (volume, mount) of a Secret. Its keys become files that, by default, only the pod's user can read.

    The kubelet also lets the group `fsGroup` read the files, so that a user other than root can read them. It writes
    changed values of the Secret into the folder within minutes, and the process reads the files at its next connection.

    Source: Kubernetes, Secrets, `defaultMode`; pkg/volume/util/atomic_writer.go.
    """
    made = {"name": volume, "secret": {"secretName": secret, "defaultMode": mode}}
    return made, {"name": volume, "mountPath": folder, "readOnly": True}
