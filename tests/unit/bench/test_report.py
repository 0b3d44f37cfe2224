"""A figure is bold exactly when the number that is shown misses its bar, and a measurement replaces its block alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import Chart, Figure, Section, Table, describe_run, join_sections, replace_blocks


def build_figure(value: float, bar: float | None = 1.05, *, is_minimum: bool = False) -> Figure:
    return Figure(name="of the floor", value=value, bar=bar, is_minimum=is_minimum)


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


def test_a_section_has_its_charts_figures_tables_and_notes() -> None:
    table = Table(title="All:", heads=("name", "ms"), rows=(("a|b", "1.5"), ("c", "**2 ms**")))
    chart = Chart(name="speed", title="Speed, ms", values={"Eaves": 1.5})
    figure = Figure(name="added", value=9.0, unit="ms", bar=5.0, measured="9 ms")
    section = Section(figures=(figure,), tables=(table,), charts=(chart,), notes=("It is a note.",))
    assert section.render() == (
        "![Speed, ms](benchmark-speed.svg)\n\n"
        "|  | measured | bar | beside |\n| --- | ---: | --- | ---: |\n| added | **9.00 ms** | at most 5 ms | 9 ms |\n\n"
        "All:\n\n| name | ms |\n| --- | ---: |\n| a/b | 1.5 |\n| c | **2 ms** |\n\nIt is a note.\n"
    )


def test_sections_of_several_models_are_one_with_the_name_of_each() -> None:
    def section(value: float) -> Section:
        table = Table(heads=("",), rows=((str(value),),))
        chart = Chart(name="speed", title="Speed, ms", values={})
        return Section(figures=(build_figure(value),), tables=(table,), charts=(chart,), notes=("It is a note.",))

    joined = join_sections({"small_net": section(1.0), "large": section(2.0)})
    assert [(one.name, one.value) for one in joined.figures] == [
        ("small_net, of the floor", 1.0), ("large, of the floor", 2.0)
    ]  # fmt: skip
    assert [one.title for one in joined.tables] == ["small_net:", "large:"]
    assert [one.name for one in joined.charts] == ["speed-small-net", "speed-large"]
    assert joined.notes == ("It is a note.",)


def test_a_measurement_replaces_its_block_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("By hand.\n<!-- one -->\nold\n<!-- /one -->\nBetween.\n<!-- two -->\nkept\n<!-- /two -->\n")
    replace_blocks(page, {"one": "new \\1\n", "unknown": "lost\n"})
    assert page.read_text() == (
        "By hand.\n<!-- one -->\nnew \\1\n<!-- /one -->\nBetween.\n<!-- two -->\nkept\n<!-- /two -->\n"
    )


def test_a_measurement_says_when_where_and_with_what_it_was_made() -> None:
    text = describe_run(12.0, 1.5)
    assert text.startswith("Measured on 20")
    assert "numpy" in text
    assert text.endswith("in 12 s; the load average was 1.5 when it began.")
