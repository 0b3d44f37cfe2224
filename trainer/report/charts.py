"""Draws learning curves as inline SVG; colours are CSS classes of layout.html.j2 and follow the light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 444, 24, 222
"""Edges of the area of the curves."""
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Heights of the lines of the grid, as shares of the vertical axis."""


def draw_history(history: Sequence[Mapping[str, float]]) -> list[tuple[str, Markup]]:
    """Draw the curves of loss and accuracy that all epochs have; return what each chart shows, and the chart."""
    made = []
    for name, top in (("accuracy", 1.0), ("loss", None)):
        curves = {
            css: [epoch[key] for epoch in history]
            for css, key in (("train", name), ("val", f"val_{name}"))
            if history and all(key in epoch for epoch in history)
        }
        if curves:
            made.append((name, _draw_curves(curves, name, top)))
    return made


def _draw_curves(curves: Mapping[str, Sequence[float]], label: str, top: float | None) -> Markup:
    """Draw curves over epochs, by their CSS class; values that are not finite leave a gap.

    Args:
        curves: CSS class of each curve, `train` or `val`, to its value for each epoch.
        label: What the values are.
        top: Top of the vertical axis; None means a little more than the largest value.
    """
    points = {
        css: [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        for css, values in curves.items()
    }
    highest = top or 1.05 * max([1e-9, *(value for found in points.values() for _, value in found)])
    epochs = max([2, *map(len, curves.values())])
    parts = [f'<text class="label" x="{LEFT}" y="{TOP - 10}">{escape(label)}</text>']
    for share in GRID:
        y = BOTTOM - share * (BOTTOM - TOP)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4}">{highest * share:.2g}</text>')
    for x, text in ((LEFT, "1"), ((LEFT + RIGHT) / 2, "epoch"), (RIGHT, str(epochs))):
        parts.append(f'<text class="tick middle" x="{x}" y="{BOTTOM + 16}">{text}</text>')
    for css, found in points.items():
        placed = [
            (LEFT + (epoch - 1) / (epochs - 1) * (RIGHT - LEFT), BOTTOM - value / highest * (BOTTOM - TOP))
            for epoch, value in found
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line {escape(css)}" points="{path}"/>')
    head = f'<svg role="img" aria-label="{escape(label)}" width="{WIDTH}" height="{HEIGHT}" '
    return Markup(f'{head}viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>')  # noqa: S704 - numbers and own words
