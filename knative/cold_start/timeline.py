"""The phases of a cold start before the function's process, from observed changes; pure.

Source of the Events' reasons and field paths: Kubernetes, pkg/kubelet/events/event.go and pkg/kubelet/container/ref.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from knative.cold_start.observer import ObservedChange
from knative.cold_start.target import SIDECAR


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTimeline:
    """What was observed of the pod that a request started.

    Attributes:
        pod: Name of the pod.
        ends_s: Phase to its end, seconds by this machine's monotonic clock; only observed phases.
        started_s: Time at which the function's container was reported as started, seconds; None before.
        pulled: Whether the node pulled the function's container image.
        complete: Whether the starts of both containers have been observed.
    """

    pod: str
    ends_s: dict[str, float]
    started_s: float | None
    pulled: bool
    complete: bool


def build_timeline(changes: Sequence[ObservedChange], container: str, sent_at_s: float) -> PodTimeline | None:
    """Build the timeline of the first pod that appeared after a request was sent; None before there is one.

    Args:
        changes: Changes in the order of their arrival.
        container: Name of the function's container.
        sent_at_s: Time at which the request was sent, seconds by this machine's monotonic clock.
    """
    later = [change for change in changes if change.at_s >= sent_at_s]
    added = next((change for change in later if _is_pod(change.object) and change.type == "ADDED"), None)
    if added is None:
        return None
    name = str(added.object["metadata"]["name"])
    events = [
        change
        for change in later
        if not _is_pod(change.object) and change.object.get("involvedObject", {}).get("name") == name
    ]
    started = _first(events, ("Started",), container)
    sidecar = _first(events, ("Started",), SIDECAR)
    moments = {
        "autoscaling": added.at_s,
        "scheduling": min([*_scheduled(later, name), *_times(events, ("Scheduled",))], default=None),
        "sandbox": _first(events, ("Pulling", "Pulled")),
        "image": _first(events, ("Pulled",), container),
        "sidecar": sidecar,
    }
    return PodTimeline(
        pod=name,
        ends_s={phase: moment for phase, moment in moments.items() if moment is not None},
        started_s=started,
        pulled=_first(events, ("Pulling",), container) is not None,
        complete=started is not None and sidecar is not None,
    )


def _is_pod(item: dict[str, Any]) -> bool:
    return "involvedObject" not in item


def _scheduled(changes: Iterable[ObservedChange], pod: str) -> Iterator[float]:
    """Yield the times at which the pod was seen with a node."""
    for change in changes:
        item = change.object
        if _is_pod(item) and item["metadata"]["name"] == pod and item.get("spec", {}).get("nodeName"):
            yield change.at_s


def _times(events: Iterable[ObservedChange], reasons: Sequence[str], container: str = "") -> Iterator[float]:
    """Yield the arrival times of the Events with one of the reasons, about a container or, without one, about any."""
    path = f"spec.containers{{{container}}}"
    for change in events:
        about = str(change.object.get("involvedObject", {}).get("fieldPath", ""))
        if change.object.get("reason") in reasons and (not container or about == path):
            yield change.at_s


def _first(events: Iterable[ObservedChange], reasons: Sequence[str], container: str = "") -> float | None:
    return next(_times(events, reasons, container), None)
