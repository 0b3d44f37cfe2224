"""A figure is bold exactly when the number that is shown misses its bar."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.report.section import Chart, Figure, Section, Table, build_table, join_sections
from tests.unit.bench.results import build_figure


@pytest.mark.parametrize(
    ("value", "bar", "is_minimum", "shown"),
    [
        (1.05, 1.05, False, "1.05"),
        (1.054, 1.05, False, "1.05"),  # what is shown as the bar doesn't miss it
        (1.056, 1.05, False, "**1.06**"),
        (0.97, 0.97, True, "0.97"),
        (0.96, 0.97, True, "**0.96**"),
        (12.0, None, False, "12.00"),
        (130.2, 130.0, False, "130"),
        (131.0, 130.0, False, "**131**"),
    ],
)
def test_a_value_that_misses_its_bar_is_bold(value: float, bar: float | None, is_minimum: bool, shown: str) -> None:
    assert build_figure(value, bar, is_minimum=is_minimum).render_value() == shown


def test_a_bar_says_its_direction_and_unit() -> None:
    assert build_figure(1.0, 0.97, is_minimum=True).render_bar() == "at least 0.97"
    assert Figure(name="added", value=9.0, unit="ms", bar=5.0).render_bar() == "at most 5 ms"
    assert Figure(name="added", value=9.0, unit="ms", bar=5.0).render_value() == "**9.00 ms**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A row of a part."""

    kind: str
    open_ms: float
    second_mb: float | None


def test_dataclasses_become_a_table() -> None:
    rows = [Opened(kind="plain", open_ms=118.04, second_mb=None), Opened(kind="packed", open_ms=14.26, second_mb=16.0)]
    table = build_table(rows, "Sessions:")
    assert table.heads == ("kind", "open ms", "second mb")
    assert table.rows == (("plain", "118", ""), ("packed", "14.3", "16"))


def test_sections_of_several_models_are_one_with_the_name_of_each() -> None:
    def section(value: float) -> Section:
        table, chart = Table(heads=("",), rows=((str(value),),)), Chart(name="speed", title="Speed, ms", bars=())
        return Section(figures=(build_figure(value),), tables=(table,), charts=(chart,), notes=("It is a note.",))

    joined = join_sections({"small_net": section(1.0), "large": section(2.0)})
    assert [(one.name, one.value) for one in joined.figures] == [
        ("small_net, of the floor", 1.0), ("large, of the floor", 2.0)
    ]  # fmt: skip
    assert [one.title for one in joined.tables] == ["small_net:", "large:"]
    assert [one.name for one in joined.charts] == ["speed-small-net", "speed-large"]
    assert joined.notes == ("It is a note.",)
