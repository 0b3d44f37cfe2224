"""Fields that all pods of Eaves share: minimal rights, and no access to the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.settings import KnativeSettings

USER = 65532
"""User id that the container images of Eaves run as."""
TEMPORARY = "tmp"


def build_security(*, user: int | None = None) -> dict[str, Any]:
    """Build a container's securityContext.

    Source: Kubernetes, Pod Security Standards, `restricted`.

    Args:
        user: User id to run as instead of the container image's own; 0 is root, which `restricted` refuses.
    """
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": user != 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return security if user is None else {**security, "runAsUser": user}


def build_privileged_security() -> dict[str, Any]:
    """Build the securityContext of a container that opens a device of its node, which no device plugin gives it.

    The kernel refuses a container's access to a device, whatever its user and the device's mode, unless the runtime
    allows the device in the container's cgroup. Of a pod's fields only `privileged` does so. It includes every
    capability and no seccomp profile, and the API server refuses it beside `allowPrivilegeEscalation: false`.

    Source: Kubernetes, pkg/apis/core/validation (`ValidateSecurityContext`); Linux, Device Whitelist Controller.
    """
    return {"privileged": True, "readOnlyRootFilesystem": True, "runAsNonRoot": False, "runAsUser": 0}


def build_temporary(size: str = "64Mi") -> tuple[dict[str, Any], dict[str, Any]]:
    """Build (volume, mount) of an empty, writable /tmp; the container's other folders are read-only."""
    volume = {"name": TEMPORARY, "emptyDir": {"sizeLimit": size}}
    return volume, {"name": TEMPORARY, "mountPath": "/tmp"}  # noqa: S108 - the container's own


def build_env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Build the `env` of a container from names and values.

    Kubernetes replaces `$(NAME)` in a value, so every `$` is written as `$$`, which it turns back into `$`.
    Source: Kubernetes, EnvVar, `value`.
    """
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]


def build_pull_secrets(settings: KnativeSettings) -> dict[str, Any]:
    """Build the field of a pod's spec that names the pull secret; empty when no pull secret is set."""
    return {"imagePullSecrets": [{"name": settings.pull_secret}]} if settings.pull_secret else {}
