"""Draws charts as SVG: axes with ticks, lines, points, bands and a legend, on a white background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
EDGE, CLOUD, GREY, DARK = "#15803d", "#c2410c", "#64748b", "#0f172a"
"""Colours of the figures, in this order: the edge setup, the cloud-only setup, additional elements, and text. They also
differ in lightness, for colour-blind readers."""
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 74, 20, 64, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: Quantity on the axis, with its unit.
        low: Lower end of the axis.
        high: Upper end of the axis.
        ticks: Value of each tick, and the text beside it.
        log: Whether the axis is logarithmic.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Return the position of a value on the axis: 0 at its lower end, 1 at its upper end.

        Values beyond an end are placed at that end.
        """
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        at = math.log(max(value, 1e-12)) if self.log else value
        return min(1.0, max(0.0, (at - low) / (high - low)))


@dataclass(slots=True)
class Chart:
    """One chart within a figure.

    Attributes:
        x: Horizontal axis.
        y: Vertical axis.
        left: Distance of the chart's left edge from that of the figure, pixels.
        top: Distance of the chart's upper edge from that of the figure, pixels.
        width: Width of the chart without its labels, pixels.
        height: Height of the chart without its labels, pixels.
    """

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point in the figure, pixels from the left and from the top.

        `x` and `y` are values on the two axes.
        """
        return self.left + self.x.share(x) * self.width, self.top + (1 - self.y.share(y)) * self.height

    def axes(self, *, x_texts: bool = True) -> None:
        """Draw the horizontal axis line, the grid, and the texts of both axes.

        If `x_texts` is False, the texts of the horizontal axis are omitted.
        """
        right, bottom = self.left + self.width, self.top + self.height
        for value, text in self.y.ticks:
            _, y = self.at(self.x.low, value)
            self.parts.append(line_between(self.left, y, right, y, "#e2e8f0", 1))
            self.parts.append(text_at(self.left - 8, y + 4, text, size=12, anchor="end", colour=GREY))
        for value, text in self.x.ticks:
            x, _ = self.at(value, self.y.low)
            self.parts.append(line_between(x, self.top, x, bottom, "#f1f5f9", 1))
            if x_texts:
                self.parts.append(text_at(x, bottom + 18, text, size=12, anchor="middle", colour=GREY))
        self.parts.append(line_between(self.left, bottom, right, bottom, "#94a3b8", 1.2))
        middle = self.top + self.height / 2
        if x_texts:
            self.parts.append(text_at((self.left + right) / 2, bottom + 40, self.x.title, size=13, anchor="middle"))
        turned = f' transform="rotate(-90 {self.left - 56} {middle:.1f})"'
        self.parts.append(text_at(self.left - 56, middle, self.y.title, size=13, anchor="middle", more=turned))

    def band(self, start: float, end: float, colour: str = "#fde68a", text: str = "") -> None:
        """Shade the range from `start` to `end` on the horizontal axis over the whole height of the chart."""
        left, _ = self.at(start, self.y.low)
        right, _ = self.at(end, self.y.low)
        width = max(1.0, right - left)
        self.parts.append(
            f'<rect x="{left:.1f}" y="{self.top}" width="{width:.1f}" height="{self.height}" fill="{colour}"'
            ' fill-opacity="0.55"/>'
        )
        if text:
            self.parts.append(text_at((left + right) / 2, self.top + 15, text, size=12, anchor="middle", colour=GREY))

    def line(self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 2.2, dash: str = "") -> None:
        """Draw a line through points, which are given as values on both axes."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}'
            ' stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, *, radius: float = 4.0, filled: bool = True) -> None:
        """Draw a small circle at a point that is given by its values on both axes."""
        left, top = self.at(x, y)
        fill = colour if filled else "#ffffff"
        self.parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="1.6"/>'
        )

    def mark(self, x: float) -> None:
        """Draw a small triangle below the horizontal axis that points at the value `x`."""
        left, _ = self.at(x, self.y.low)
        self.parts.append(_triangle(left, self.top + self.height))

    def note(
        self, x: float, y: float, text: str, colour: str, *, anchor: str = "start", dx: float = 6, dy: float = 4
    ) -> None:
        """Write text beside a point that is given by its values on both axes; `dx` and `dy` move the text by pixels."""
        left, top = self.at(x, y)
        halo = ' paint-order="stroke" stroke="#ffffff" stroke-width="5" stroke-linejoin="round"'
        self.parts.append(text_at(left + dx, top + dy, text, size=12, anchor=anchor, colour=colour, more=halo))


def text_at(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 13,
    anchor: str = "start",
    colour: str = DARK,
    weight: int = 400,
    more: str = "",
) -> str:
    """Return the SVG element of a line of text at a position in pixels."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
        f' font-weight="{weight}"{more}>{escape(text)}</text>'
    )


def legend(x: float, y: float, entries: Sequence[tuple[str, str, str]]) -> str:
    """Return the SVG elements of a legend, whose entries are side by side.

    Each entry has a text, a colour, and a kind: `line`, `dash`, `dot`, `ring`, `band` or `mark`.
    """
    parts: list[str] = []
    for text, colour, kind in entries:
        if kind in {"line", "dash"}:
            parts.append(line_between(x, y - 4, x + 22, y - 4, colour, 2.4, "5 4" if kind == "dash" else ""))
        elif kind == "band":
            parts.append(f'<rect x="{x}" y="{y - 11}" width="22" height="13" fill="{colour}" fill-opacity="0.55"/>')
        elif kind == "mark":
            parts.append(_triangle(x + 11, y - 9))
        else:
            fill = colour if kind == "dot" else "#ffffff"
            parts.append(
                f'<circle cx="{x + 11}" cy="{y - 4}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.6"/>'
            )
        parts.append(text_at(x + 28, y, text, size=12.5))
        x += 28 + 6.6 * len(text) + 24
    return "".join(parts)


def figure(width: int, height: int, title: str, description: str, parts: Sequence[str]) -> str:
    """Return a whole SVG file with a title and the given elements.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        title: Title at the top, which states the figure's message; empty: none.
        description: Description of the figure for screen readers.
        parts: SVG elements of the figure.
    """
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{FONT}" role="img"'
        f' aria-label="{escape(description, quote=True)}">\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f"{text_at(18, 28, title, size=17, weight=600)}\n{body}\n</svg>\n"
    )


def line_between(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dash: str = "") -> str:
    """Return the SVG element of a straight line between two positions in pixels."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _triangle(x: float, top: float) -> str:
    return f'<path d="M{x:.1f} {top:.1f}l4.5 8h-9z" fill="{GREY}"/>'
