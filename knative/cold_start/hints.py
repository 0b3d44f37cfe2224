"""What shortens the long phases of a cold start; only for phases that take a large share of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eaves.platform.cold_start import IN_PROCESS, ColdStart, PhaseSummary
from knative.cold_start.target import ColdTarget

LARGE_SHARE = 0.2
"""Share of the whole cold start from which on a phase has a hint."""
PLATFORM: Mapping[str, str] = {
    "autoscaling": "Knative makes the pod; kubectl -n knative-serving top pods shows whether its activator, autoscaler "
    "and controller lack CPU",
    "scheduling": "the pod waits for a node; eaves doctor shows whether one has room for its CPU and memory",
    "sandbox": "the node makes network and volumes; its container runtime and network plugin decide how fast",
    "container": "the node's container runtime makes the container; a node with free CPU and a faster disk is faster",
    "sidecar": "queue-proxy starts after the function's container; the node's container runtime decides how fast",
    "probe": "the function was ready before queue-proxy probed it; no setting of Eaves changes this",
    "activator": "the activator probes pods before it forwards a request; no setting of Eaves changes this",
}
"""Phase of the platform to its hint."""


def find_hints(target: ColdTarget, starts: Sequence[ColdStart], summaries: Sequence[PhaseSummary]) -> list[str]:
    """Return hints for the phases that take a large share, the longest phase first, and for what wasn't observed.

    Args:
        target: The function.
        starts: Its cold starts.
        summaries: The summary of `starts`.
    """
    medians = {summary.phase: summary.median_ms for summary in summaries}
    total_ms = medians.pop("total")
    medians.pop("warm")
    large = sorted(medians, key=lambda phase: -medians[phase])
    large = [phase for phase in large if medians[phase] >= LARGE_SHARE * total_ms]
    hints = [f"{phase} ({medians[phase]:.0f} ms): {PLATFORM[phase]}" for phase in large if phase in PLATFORM]
    if pulls := sum(start.pulled for start in starts):
        keep = (
            "the pin keeps it from now on" if target.pinned else "knative.pin: yes in eaves.yaml keeps it on every node"
        )
        hints.insert(0, f"image: the node pulled the container image in {pulls} of {len(starts)} starts; {keep}")
    own_ms = sum(value for phase, value in medians.items() if phase in IN_PROCESS)
    if own_ms >= LARGE_SHARE * total_ms and (cpus := _parse_cpus(target.cpu_limit)) is not None and cpus < 1:
        hints.append(
            f"process ({own_ms:.0f} ms): its CPU limit is {target.cpu_limit}, less than one CPU, so the kernel pauses "
            "it while it starts; raise or remove knative.cpu_limit"
        )
    if not target.timing:
        hints.append("the process doesn't log its own phases; set function.timing to yes in eaves.yaml, and deploy")
    return hints


def _parse_cpus(quantity: str) -> float | None:
    """Return the CPUs of a quantity such as `500m` or `2`; None without one."""
    try:
        return float(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)
    except ValueError:
        return None
