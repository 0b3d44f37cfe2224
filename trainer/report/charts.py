"""Draws small charts as inline SVG; colours are CSS classes of layout.html.j2 and follow the light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 12, 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve of a chart.

    Attributes:
        css: CSS class of the curve: `train` or `val`.
        values: One value per epoch, from epoch 1.
    """

    css: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Axes of a chart; they map data coordinates to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]

    def point(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1
        )


def draw_curves(lines: Sequence[Line], *, y_label: str, y_max: float | None = None) -> Markup:
    """Draw curves over epochs.

    Args:
        lines: Curves to draw; values that are not finite leave a gap.
        y_label: Label of the vertical axis.
        y_max: Top of the vertical axis; None means the largest value.
    """
    finite = [value for line in lines for value in line.values if math.isfinite(value)]
    epochs = max((len(line.values) for line in lines), default=0)
    top = y_max or max([*finite, 1e-9]) * 1.05
    frame = _Frame(x=(1, max(epochs, 2)), y=(0, top))
    parts = [_axes(frame, _steps(1, max(epochs, 2), whole=True), _steps(0, top), x_label="epoch", y_label=y_label)]
    for line in lines:
        points = [frame.point(epoch, value) for epoch, value in enumerate(line.values, 1) if math.isfinite(value)]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline class="line {escape(line.css)}" points="{path}"/>')
        if points:
            parts.append(f'<circle class="dot {escape(line.css)}" cx="{points[-1][0]}" cy="{points[-1][1]}" r="3"/>')
    return _svg(parts, y_label)


def _svg(parts: Sequence[str], label: str) -> Markup:
    head = f'<svg role="img" aria-label="{escape(label)}" width="{WIDTH}" height="{HEIGHT}" '
    return Markup(f'{head}viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>')  # noqa: S704 - numbers and own words


def _steps(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers within an interval, about five, for the ticks of an axis."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    if whole:
        step = max(1, round(step))
    first = math.ceil(low / step)
    ticks = [index * step for index in range(first, int(high / step + 1e-9) + 1)]
    return [low, *ticks] if whole and ticks and ticks[0] > low and ticks[0] - low > step / 2 else ticks


def _axes(frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], *, x_label: str, y_label: str) -> str:
    parts = []
    left, bottom, right = LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in y_ticks:
        y = frame.point(frame.x[0], tick)[1]
        parts.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(f'<text class="tick end" x="{left - 6}" y="{y + 4}">{tick:g}</text>')
    for tick in x_ticks:
        x = frame.point(tick, frame.y[0])[0]
        parts.append(f'<text class="tick middle" x="{x}" y="{bottom + 16}">{tick:g}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    parts.append(f'<text class="label middle" x="{(left + right) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 13 {middle})"'
    parts.append(f'<text class="label middle" x="13" y="{middle}" {turned}>{escape(y_label)}</text>')
    return "".join(parts)
