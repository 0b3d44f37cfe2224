"""The Knative Service whose cold start is measured, as it is deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.config import iter_leaves
from eaves.errors import NotFoundError, StartError
from functions.settings import FunctionSettings
from knative.client.kinds import KSERVICE, REVISION
from knative.client.proxy_routes import ProxyRoute, find_route
from knative.resources.metadata import PIN_ANNOTATION

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

TIMING = next(leaf.env for leaf in iter_leaves(FunctionSettings) if leaf.path == "timing")
"""Environment variable with which a function logs the stages of its start."""
SIDECAR = "queue-proxy"
STABLE_WINDOW_S = 60.0
"""Seconds without requests after which Knative scales down, unless the revision sets another window.

Source: knative/serving, config-autoscaler, stable-window.
"""
_SCALING = "autoscaling.knative.dev/"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdTarget:
    """A Knative Service whose requests all go to one revision, which may scale to zero.

    Attributes:
        name: Name of the Knative Service.
        revision: Name of the revision.
        container: Name of the container that answers.
        timing: Whether the container logs the stages of its start.
        pinned: Whether nodes keep the container image.
        cpu_limit: CPU limit of the container, such as `500m`; empty without a limit.
        cpu_request: CPU request of the container; empty without a request.
        window_s: Seconds without requests after which Knative removes the revision's last pod, at the latest.
        route: Route of requests through the API server.
    """

    name: str
    revision: str
    container: str
    timing: bool
    pinned: bool
    cpu_limit: str
    cpu_request: str
    window_s: float
    route: ProxyRoute


def read_target(cluster: Cluster, name: str) -> ColdTarget:
    """Read a Knative Service and its revision.

    Raises:
        NotFoundError: When there is no such Knative Service.
        StartError: When it isn't ready, several revisions get its requests, or it never scales to zero.
        ClusterError: When the objects can't be read.
    """
    service = cluster.get(KSERVICE, name)
    if service is None:
        known = ", ".join(str(one["metadata"]["name"]) for one in cluster.list(KSERVICE)) or "none"
        message = f"the Knative Service {name!r} does not exist in {cluster.namespace} (existing: {known})"
        raise NotFoundError(message, hint="eaves status --on knative")
    revision_name = _find_revision(name, service)
    revision = cluster.get(REVISION, revision_name)
    if revision is None:
        raise StartError(f"the revision {revision_name} of {name} does not exist", hint="eaves status --on knative")
    annotations = revision["metadata"].get("annotations") or {}
    if (least := annotations.get(f"{_SCALING}min-scale", "0")) not in {"", "0"}:
        message = f"{name} never scales to zero: its minimum number of replicas is {least}, so it has no cold start"
        raise StartError(message, hint="set scale.min to 0 in eaves.yaml, and deploy")
    container = _find_container(revision)
    resources = container.get("resources") or {}
    return ColdTarget(
        name=name,
        revision=revision_name,
        container=str(container.get("name") or "user-container"),
        timing=_is_set(container),
        pinned=PIN_ANNOTATION in (service["metadata"].get("annotations") or {}),
        cpu_limit=str((resources.get("limits") or {}).get("cpu", "")),
        cpu_request=str((resources.get("requests") or {}).get("cpu", "")),
        window_s=_parse_window(annotations),
        route=find_route(cluster, str(service["status"]["address"]["url"])),
    )


def _find_revision(name: str, service: Mapping[str, Any]) -> str:
    status = service.get("status") or {}
    serving = {str(share.get("revisionName", "")) for share in status.get("traffic") or () if share.get("percent")}
    if not status.get("address", {}).get("url") or not serving:
        raise StartError(f"{name} has no address or no ready revision yet", hint="eaves status --on knative")
    if len(serving) > 1:
        message = f"{len(serving)} revisions of {name} get requests: {', '.join(sorted(serving))}"
        raise StartError(
            message,
            hint=f"finish the rollout: eaves promote {name} --on knative, or eaves rollback {name} --on knative",
        )
    return serving.pop()


def _find_container(revision: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: list[Mapping[str, Any]] = (revision.get("spec") or {}).get("containers") or [{}]
    return next((one for one in containers if one.get("ports")), containers[0])


def _is_set(container: Mapping[str, Any]) -> bool:
    values = {str(one.get("name")): str(one.get("value", "")) for one in container.get("env") or ()}
    return values.get(TIMING, "").lower() in {"1", "true", "yes", "on"}


def _parse_window(annotations: Mapping[str, Any]) -> float:
    """Return the seconds of the window, and of the last pod's retention period after it.

    Source: knative/serving, pkg/apis/autoscaling/register.go; Go's notation of durations, such as `1m30s`.
    """
    window_s = _parse_duration(str(annotations.get(f"{_SCALING}window", "")))
    kept_s = _parse_duration(str(annotations.get(f"{_SCALING}scale-to-zero-pod-retention-period", "")))
    return (window_s or STABLE_WINDOW_S) + (kept_s or 0.0)


def _parse_duration(text: str) -> float | None:
    """Return the seconds of a duration in Go's notation; None for other texts."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    return sum(float(value) * unit_s for value, unit_s in zip(match.groups(default="0"), (3600, 60, 1), strict=True))
