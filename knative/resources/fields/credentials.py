"""A Secret in a pod as the folder of files that `eaves.credentials` reads."""

from __future__ import annotations

from typing import Any

FOLDER = "/credentials"
"""Where the pod has it."""
VOLUME = "credentials"
RELAY_FOLDER, RELAY_VOLUME = "/relay-credentials", "relay-credentials"
"""The same of the relay's credentials in the pod of an agent, which may have credentials of its own."""
VOLUMES = (VOLUME, RELAY_VOLUME)
_OWNER_READS = 0o400


def build_credentials(
    secret: str, *, volume: str = VOLUME, folder: str = FOLDER
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(volume, mount) of a Secret, whose keys become files that only the pod's user reads.

    The kubelet lets the group `fsGroup` read them as well, which is how a user that isn't root does; it writes changed
    values into the folder within minutes, and they are read at the next connection.

    Source: Kubernetes, Secrets, `defaultMode`; pkg/volume/util/atomic_writer.go.
    """
    made = {"name": volume, "secret": {"secretName": secret, "defaultMode": _OWNER_READS}}
    return made, {"name": volume, "mountPath": folder, "readOnly": True}
