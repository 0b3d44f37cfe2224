"""What the pods that Eaves makes have in common: they trust nobody and need nothing of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knative.settings import KnativeSettings

USER = 65532
"""As in our container images."""
TEMPORARY = "tmp"


def build_security(*, user: int | None = None) -> dict[str, Any]:
    """A container's securityContext.

    Source: Kubernetes, Pod Security Standards, `restricted`.

    Args:
        user: To run as, where the container image's own won't do; 0 is root, which `restricted` refuses.
    """
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": user != 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return security if user is None else {**security, "runAsUser": user}


def build_temporary(size: str = "64Mi") -> tuple[dict[str, Any], dict[str, Any]]:
    """(volume, mount) of an empty /tmp, the one place that may be written beside a read-only root."""
    volume = {"name": TEMPORARY, "emptyDir": {"sizeLimit": size}}
    return volume, {"name": TEMPORARY, "mountPath": "/tmp"}  # noqa: S108 - the container's own


def build_env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Environment variables as a container has them.

    Kubernetes replaces `$(NAME)` in a value, so every `$` is written as `$$`, which it turns back.
    Source: Kubernetes, EnvVar, `value`.
    """
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]


def build_pull_secrets(settings: KnativeSettings) -> dict[str, Any]:
    """The part of a pod's spec that says how nodes fetch container images; empty when they just may."""
    return {"imagePullSecrets": [{"name": settings.pull_secret}]} if settings.pull_secret else {}
