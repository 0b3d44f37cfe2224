"""A bar chart is well-formed, true to scale, and readable on a narrow page."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.plots.bars import STAGES, THICK, WIDTH, draw_bars
from bench.plots.svg import EDGE
from bench.report.section import Bar, Chart
from eaves.platform.cold_start import PHASES

SVG = "{http://www.w3.org/2000/svg}"


def draw(*bars: Bar, stages: tuple[str, ...] = (), limits: tuple[tuple[str, float], ...] = ()) -> ElementTree.Element:
    title = "From exec to the first prediction over HTTP, median milliseconds & more"
    return ElementTree.fromstring(draw_bars(Chart(name="a", title=title, bars=bars, stages=stages, limits=limits)))


def bars_of(root: ElementTree.Element) -> list[tuple[float, str]]:
    found = [
        (float(one.get("width", "0")), one.get("fill", ""))
        for one in root.iter(f"{SVG}rect")
        if one.get("height") == str(THICK)
    ]
    assert found
    return found


def test_bars_are_true_to_scale_and_ours_has_its_own_colour() -> None:
    (ours, colour), (other, grey) = bars_of(
        draw(Bar(label="Eaves", values=(50.0,), is_ours=True), Bar(label="b", values=(100.0,)))
    )
    assert abs(other - 2 * ours) < 0.2
    assert colour == EDGE
    assert grey != EDGE


def test_a_breakdown_has_a_legend_and_the_sum_behind_the_bar() -> None:
    root = draw(Bar(label="Eaves", values=(100.0, 300.0)), stages=("imports", "session"))
    (first, _), (second, _) = bars_of(root)
    assert abs(second - 3 * first) < 0.3
    assert {"imports", "session", "400"} <= {one.text for one in root.iter(f"{SVG}text")}


def test_everything_is_inside_the_figure_and_large_enough_to_read() -> None:
    limits = (("a limit with a rather long text on the right side", 99.0),)
    root = draw(Bar(label="functions-framework", values=(100.0,), note="100 ms"), limits=limits)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert width == WIDTH
    for text in root.iter(f"{SVG}text"):
        x, size, length = float(text.get("x", "0")), float(text.get("font-size", "0")), len(text.text or "")
        begin = x - 0.6 * size * length if text.get("text-anchor") == "end" else x
        assert begin >= 0
        assert begin + 0.6 * size * length <= width + 1, text.text
        assert float(text.get("y", "0")) < height
        assert size * 400 / width >= 10  # pixels on a page of 400 pixels


def test_each_phase_of_a_cold_start_has_its_own_colour() -> None:
    assert len(set(STAGES)) == len(STAGES) >= len(PHASES)
