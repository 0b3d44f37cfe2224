"""What is advised, and when nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.platform.cold_start import ColdStart, summarize
from knative.client.proxy_routes import ProxyRoute
from knative.cold_start import ColdTarget, find_hints

TARGET = ColdTarget(
    name="flowers",
    revision="flowers-00001",
    container="function",
    timing=True,
    pinned=False,
    cpu_limit="",
    cpu_request="100m",
    window_s=60.0,
    route=ProxyRoute(namespace="kourier-system", target="services/kourier-internal:80", path="/", host="flowers"),
)
QUICK = {"autoscaling": 10.0, "scheduling": 20.0, "sandbox": 30.0, "image": 40.0, "container": 50.0, "imports": 60.0}


def hints(ends_ms: dict[str, float], target: ColdTarget = TARGET, *, pulled: bool = False) -> list[str]:
    starts = [ColdStart(ends_ms=ends_ms, total_ms=max(ends_ms.values()), warm_ms=1.0, pulled=pulled)]
    return find_hints(target, starts, summarize(starts))


def test_nothing_is_advised_when_no_phase_of_the_platform_is_large() -> None:
    assert hints(QUICK | {"session": 1000.0}) == []


@pytest.mark.parametrize(
    "phase", ["autoscaling", "scheduling", "sandbox", "container", "sidecar", "probe", "activator"]
)
def test_a_large_phase_has_a_hint_with_its_time(phase: str) -> None:
    (hint,) = hints({phase: 300.0, "prediction": 1000.0})
    assert hint.startswith(f"{phase} (300 ms): ")
    assert hints({phase: 100.0, "prediction": 1000.0}) == []


def test_a_pulled_image_is_pinned() -> None:
    (hint,) = hints(QUICK | {"session": 1000.0}, pulled=True)
    assert "in 1 of 1 starts; knative.pin" in hint
    (hint,) = hints(QUICK | {"session": 1000.0}, replace(TARGET, pinned=True), pulled=True)
    assert "the pin keeps it" in hint


@pytest.mark.parametrize(
    ("limit", "advised"), [("500m", True), ("0.5", True), ("1000m", False), ("2", False), ("", False)]
)
def test_a_limit_below_one_cpu_is_named_when_the_process_takes_long(limit: str, advised: bool) -> None:
    found = hints(QUICK | {"session": 1000.0}, replace(TARGET, cpu_limit=limit))
    assert [limit in hint for hint in found] == [True] * advised
    short = {"imports": 100.0, "probe": 190.0, "activator": 280.0, "answer": 1000.0}
    assert hints(short, replace(TARGET, cpu_limit=limit)) == []


def test_without_stages_the_setting_is_named() -> None:
    (hint,) = hints(QUICK | {"process": 1000.0}, replace(TARGET, timing=False))
    assert "function.timing" in hint
