"""A Secret in a pod as the folder of files that `eaves.credentials` reads."""

from __future__ import annotations

from typing import Any

FOLDER = "/credentials"
"""Where the pod has it."""
VOLUME = "credentials"
_OWNER_READS = 0o400


def build_credentials(secret: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(volume, mount) of a Secret, whose keys become files that only the pod's user reads.

    The kubelet lets the group `fsGroup` read them as well, which is how a user that isn't root does; it writes changed
    values into the folder within minutes, and they are read at the next connection.

    Source: Kubernetes, Secrets, `defaultMode`; pkg/volume/util/atomic_writer.go.
    """
    volume = {"name": VOLUME, "secret": {"secretName": secret, "defaultMode": _OWNER_READS}}
    return volume, {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
