"""The measurements of other modules become figures with bars, tables and charts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench import sections
from bench.material import Setup
from bench.report.section import Section, UnavailableError
from tests.unit.bench.test_registry import MATERIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Durations of one phase."""

    phase: str
    median_ms: float


def values(section: Section) -> list[tuple[str, str]]:
    return [(figure.render_value(), figure.render_bar()) for figure in section.figures]


def test_a_cold_start_through_knative_is_compared_with_the_trivial_server() -> None:
    def phases(session_ms: float) -> list[Phase]:
        found = {"scheduling": 300.0, "session": session_ms, "total": 300.0 + session_ms, "warm": 20.0}
        return [Phase(phase=phase, median_ms=value) for phase, value in found.items()]

    section = sections.build_knative({"int8": phases(270.0), "floor": phases(0.0)}, rounds=5)
    assert values(section) == [("**0.27 s**", "at most 0.25 s")]
    assert section.charts[0].stages == ("scheduling", "session")
    assert sections.build_knative({"int8": phases(1.0)}, rounds=5).figures == ()


def test_phases_are_in_their_order_also_when_only_the_trivial_server_has_one() -> None:
    def phases(*names: str) -> list[Phase]:
        return [Phase(phase=name, median_ms=10.0) for name in (*names, "answer", "total", "warm")]

    found = {"int8": phases("container", "session"), "floor": phases("container", "process")}
    section = sections.build_knative(found, rounds=5)
    assert section.charts[0].stages == ("container", "session", "process", "answer")
    assert [row[0] for row in section.tables[0].rows] == [*section.charts[0].stages, "total", "warm"]


def test_without_a_cluster_the_part_says_what_it_needs() -> None:
    with pytest.raises(UnavailableError, match="KUBECONFIG"):
        sections.knative(Setup(models=(MATERIAL,), environ={}))
