"""A chart as SVG: axes with ticks, lines, points, bands and a legend, on a white background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
EDGE, CLOUD, GREY, DARK = "#15803d", "#c2410c", "#64748b", "#0f172a"
"""Colours: the edge, cloud-only, additional elements, text. They also differ in lightness, for colour-blind readers."""
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 74, 20, 64, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: Quantity on the axis, with its unit.
        low: Lower end of the axis.
        high: Upper end of the axis.
        ticks: Value and text of each tick.
        log: Whether it is logarithmic.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Return the position of a value, 0 at the lower end and 1 at the upper one; clamped."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        at = math.log(max(value, 1e-12)) if self.log else value
        return min(1.0, max(0.0, (at - low) / (high - low)))


@dataclass(slots=True)
class Chart:
    """One chart within a figure.

    Attributes:
        x: The horizontal axis.
        y: The vertical axis.
        left: Left end of its frame in the figure, pixels.
        top: Upper end of its frame in the figure, pixels.
        width: Width of the frame, pixels.
        height: Height of the frame, pixels.
    """

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point in the figure."""
        return self.left + self.x.share(x) * self.width, self.top + (1 - self.y.share(y)) * self.height

    def axes(self, *, x_texts: bool = True) -> None:
        """Draw frame, grid, ticks and titles."""
        right, bottom = self.left + self.width, self.top + self.height
        for value, text in self.y.ticks:
            _, y = self.at(self.x.low, value)
            self.parts.append(_line(self.left, y, right, y, "#e2e8f0", 1))
            self.parts.append(text_at(self.left - 8, y + 4, text, size=12, anchor="end", colour=GREY))
        for value, text in self.x.ticks:
            x, _ = self.at(value, self.y.low)
            self.parts.append(_line(x, self.top, x, bottom, "#f1f5f9", 1))
            if x_texts:
                self.parts.append(text_at(x, bottom + 18, text, size=12, anchor="middle", colour=GREY))
        self.parts.append(_line(self.left, bottom, right, bottom, "#94a3b8", 1.2))
        middle = self.top + self.height / 2
        if x_texts:
            self.parts.append(text_at((self.left + right) / 2, bottom + 40, self.x.title, size=13, anchor="middle"))
        turned = f' transform="rotate(-90 {self.left - 56} {middle:.1f})"'
        self.parts.append(text_at(self.left - 56, middle, self.y.title, size=13, anchor="middle", more=turned))

    def band(self, start: float, end: float, colour: str = "#fde68a", text: str = "") -> None:
        """Shade a range of the horizontal axis."""
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
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}'
            ' stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, *, radius: float = 4.0, filled: bool = True) -> None:
        """Draw a point."""
        left, top = self.at(x, y)
        fill = colour if filled else "#ffffff"
        self.parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="1.6"/>'
        )

    def mark(self, x: float) -> None:
        """Draw a small triangle below the horizontal axis that points at it."""
        left, _ = self.at(x, self.y.low)
        self.parts.append(_triangle(left, self.top + self.height))

    def note(
        self, x: float, y: float, text: str, colour: str, *, anchor: str = "start", dx: float = 6, dy: float = 4
    ) -> None:
        """Write text beside a point."""
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
    """Return a line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
        f' font-weight="{weight}"{more}>{escape(text)}</text>'
    )


def legend(x: float, y: float, entries: Sequence[tuple[str, str, str]]) -> str:
    """Return a legend of entries side by side: text, colour, and `line`, `dash`, `dot`, `ring`, `band` or `mark`."""
    parts: list[str] = []
    for text, colour, kind in entries:
        if kind in {"line", "dash"}:
            parts.append(_line(x, y - 4, x + 22, y - 4, colour, 2.4, "5 4" if kind == "dash" else ""))
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
    """Return a whole figure.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        title: Message of the figure, at the top.
        description: The same message for screen readers.
        parts: Elements of the figure.
    """
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{FONT}" role="img"'
        f' aria-label="{escape(description, quote=True)}">\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f"{text_at(18, 28, title, size=17, weight=600)}\n{body}\n</svg>\n"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _triangle(x: float, top: float) -> str:
    return f'<path d="M{x:.1f} {top:.1f}l4.5 8h-9z" fill="{GREY}"/>'
