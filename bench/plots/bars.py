"""Draws horizontal bar charts whose texts stay readable when the page is 400 pixels wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.plots.svg import CLOUD, DARK, EDGE, GREY, line_between, text_at
from bench.plots.svg import figure as svg_figure
from bench.report.section import Bar, Chart

WIDTH, LABEL, NOTE = 480, 168, 96
"""Width of the figure, of the labels left of the bars, and of the notes right of them, pixels."""
STEP, THICK, TOP = 30, 18, 50
STAGES = (
    "#0f766e", "#1d4ed8", "#7c3aed", "#be185d", "#c2410c", "#a16207", "#475569", "#15803d", "#0e7490",
    "#b91c1c", "#84cc16", "#38bdf8", "#d946ef", "#78350f", "#fbbf24", "#0f172a", "#fb7185",
)  # fmt: skip
"""Colours of the stages of a breakdown; neighbours differ in lightness or hue."""
OTHERS = "#94a3b8"
HALO = ' paint-order="stroke" stroke="#ffffff" stroke-width="4" stroke-linejoin="round"'
"""Attributes of a text that keeps a white edge where a line crosses it."""
WRAP = 48
"""Number of characters of a title that fit beside each other."""


def draw_bars(chart: Chart) -> str:
    """Draw a chart and return the SVG file as text."""
    titles = _wrap(chart.title)
    top = TOP + 18 * (len(titles) - 1)
    high = max([*(sum(bar.values) for bar in chart.bars), *(value for _, value in chart.limits)], default=1.0) or 1.0
    scale = (WIDTH - LABEL - NOTE) / high
    bottom = top + STEP * len(chart.bars)
    parts = [text_at(18, 28 + 18 * number, text, size=15, weight=600) for number, text in enumerate(titles)]
    parts.append(line_between(LABEL, top - 4, LABEL, bottom, "#94a3b8", 1.2))
    for number, (text, value) in enumerate(chart.limits):
        x = LABEL + value * scale
        parts.append(line_between(x, top - 4, x, bottom + 4 + 16 * number, CLOUD, 1.8, "5 4"))
        parts.append(_limit_text(x, bottom + 18 + 16 * number, text))
    for number, bar in enumerate(chart.bars):  # after the lines, so that no line hides a number
        parts += _draw_bar(bar, top + STEP * number, scale, stages=bool(chart.stages))
    bottom += 12 + 16 * len(chart.limits)
    for number, stage in enumerate(chart.stages):
        y = bottom + 20 * number
        parts.append(f'<rect x="18" y="{y}" width="14" height="14" fill="{STAGES[number % len(STAGES)]}"/>')
        parts.append(text_at(40, y + 12, stage))
    height = math.ceil(bottom + 20 * len(chart.stages) + 8)
    described = "; ".join(f"{bar.label}: {_note(bar)}" for bar in chart.bars)
    return svg_figure(WIDTH, height, "", f"{chart.title}. {described}.", parts)


def _draw_bar(bar: Bar, y: float, scale: float, *, stages: bool) -> list[str]:
    weight = 600 if bar.is_ours else 400
    parts = [text_at(LABEL - 8, y + THICK - 4, bar.label, anchor="end", weight=weight)]
    x = float(LABEL)
    for number, value in enumerate(bar.values):
        colour = STAGES[number % len(STAGES)] if stages else EDGE if bar.is_ours else OTHERS
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{THICK}" fill="{colour}"/>')
        x += value * scale
    colour = DARK if bar.is_ours else GREY
    return [*parts, text_at(x + 6, y + THICK - 4, _note(bar), weight=weight, colour=colour, more=HALO)]


def _note(bar: Bar) -> str:
    total = sum(bar.values)
    return bar.note or (f"{total:.0f}" if total >= 10 else f"{total:.2f}")


def _limit_text(x: float, y: float, text: str) -> str:
    """Return the text of a limit, which ends at the line when it would leave the figure on the right."""
    fits = x + 7 * len(text) < WIDTH - 10
    return text_at(x + 5 if fits else x - 5, y, text, size=12.5, colour=CLOUD, anchor="start" if fits else "end")


def _wrap(title: str) -> Sequence[str]:
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= WRAP else [*lines, word]
    return lines
