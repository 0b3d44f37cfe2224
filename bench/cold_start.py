"""A cold start through Knative: one request to a function without pods, split by the stages that its process logs.

The clock of the node is never compared with the clock of this machine: the process's last stage, its first prediction,
ended half a round trip before the answer arrived, and this puts all its stages on one time axis with the request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from eaves.http_client.client import HttpAnswer
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, POD

FIRST_PREDICTION = "first prediction"
STAGES: Mapping[str, str] = {
    "interpreter": "interpreter",
    "imports": "import functions.model_loading",
    "session": "open session",
    "golden": "golden check",
    "server": "listening",
    "probe": "first probe",
    "activator": "first request",
    "prediction": FIRST_PREDICTION,
}
"""Phase to the stage in the log of the function's process at whose end the phase ends."""
PHASES = ("launch", *STAGES, "answer")
"""Phases in their order; `launch` ends when the process is executed, and is Knative's and the node's share."""
WARM_REQUESTS = 3
ZERO_S = 120.0
"""Maximum seconds until the last pod is gone: the function's window, Knative's grace period of 30 s, the pod's end."""
LOGGED_S = 5.0
"""Maximum seconds after the answer until the log has the line with the stages."""
POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Milliseconds of a cold start: each phase that was logged, the whole, and a request to the warm replica."""

    phases_ms: Mapping[str, float]
    total_ms: float
    warm_ms: float


def measure_cold_start(cluster: Cluster, name: str, body: bytes) -> ColdStart:
    """Wait until a function has no pods, then send it one request; a JPEG, or a GET if `body` is empty."""
    selector, deadline = f"serving.knative.dev/service={name}", time.monotonic() + ZERO_S
    while cluster.list(POD, selector=selector):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} did not scale to zero within {ZERO_S:.0f} s")
        time.sleep(POLL_S)
    total_ms = _send(cluster, name, body).latency_ms
    pods = cluster.list(POD, selector=selector)
    answers = [_send(cluster, name, body) for _ in range(WARM_REQUESTS)]
    warm_ms = min(answer.latency_ms for answer in answers)
    way_back_ms = min(answer.latency_ms - _own_ms(answer) for answer in answers) / 2
    stages = _read_stages(cluster, str(pods[0]["metadata"]["name"])) if body and pods else {}
    return ColdStart(phases_ms=split_phases(stages, total_ms, way_back_ms), total_ms=total_ms, warm_ms=warm_ms)


def split_phases(stages: Mapping[str, float], total_ms: float, way_back_ms: float) -> dict[str, float]:
    """Return the milliseconds of each phase; their sum is `total_ms`. Empty when no first prediction was logged.

    Phases may overlap. A phase gets the time from the end of all earlier phases to its own end, or 0.
    """
    if FIRST_PREDICTION not in stages:
        return {}
    executed_ms = total_ms - way_back_ms - stages[FIRST_PREDICTION]
    ends = {"launch": executed_ms, "answer": total_ms}
    ends |= {phase: executed_ms + stages[stage] for phase, stage in STAGES.items() if stage in stages}
    found, reached = {}, 0.0
    for phase in (phase for phase in PHASES if phase in ends):
        end = min(max(ends[phase], reached), total_ms)
        found[phase] = end - reached
        reached = end
    return found


def find_stages(lines: Iterable[str]) -> dict[str, float]:
    """Return the stages of the latest start in a function's log, milliseconds since exec; empty without such a line."""
    found: dict[str, float] = {}
    for line in lines:
        if '"start_ms"' in line:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                found = {str(stage): float(moment) for stage, moment in json.loads(line)["start_ms"].items()}
    return found


def _send(cluster: Cluster, name: str, body: bytes) -> HttpAnswer:
    service = cluster.get(KSERVICE, name) or {}
    url, headers = str(service["status"]["address"]["url"]), {"Content-Type": "image/jpeg"} if body else {}
    answer = cluster.send(url, method="POST" if body else "GET", headers=headers, body=body, timeout_s=120.0)
    if answer.status >= 400:
        raise RuntimeError(f"{name} answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
    return answer


def _own_ms(answer: HttpAnswer) -> float:
    """Return the milliseconds that a function reports for its own stages; 0 for other servers."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return float(sum(json.loads(answer.body)["timings_ms"].values()))
    return 0.0


def _read_stages(cluster: Cluster, pod: str) -> Mapping[str, float]:
    deadline, found = time.monotonic() + LOGGED_S, dict[str, float]()
    while FIRST_PREDICTION not in found and time.monotonic() < deadline:
        found = find_stages(cluster.logs(pod, container="function", lines=200))
        time.sleep(0 if FIRST_PREDICTION in found else POLL_S)
    return found
