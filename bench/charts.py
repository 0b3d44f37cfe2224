"""Draws charts as SVG with matplotlib, in the colours of the documentation; `make bench` installs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import UnavailableError

OURS, OTHER, GREY = "#15803d", "#c2410c", "#94a3b8"
"""Colours of Eaves or the edge, of the alternative, and of all else; they differ in lightness, too."""


@contextmanager
def figure(path: Path, title: str, *, width: float = 8.8, height: float = 4.4) -> Iterator[Any]:
    """Yield the axes of a figure, and write it after the `with` block, with the same bytes for the same values.

    Args:
        path: SVG file.
        title: Title above the figure; it says what the figure shows.
        width: Width of the figure, inches of 100 pixels.
        height: Height of the figure, inches.

    Raises:
        UnavailableError: When matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib import pyplot
    except ImportError as error:
        raise UnavailableError("charts need matplotlib\ntry: pip install -r requirements/bench.txt") from error

    mpl.use("svg")
    with mpl.rc_context({"svg.hashsalt": "eaves", "svg.fonttype": "none", "axes.spines.top": False,
                         "axes.spines.right": False, "font.size": 10}):  # fmt: skip
        drawn, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        drawn.suptitle(title, x=0.01, ha="left", weight="bold", size=11, wrap=True)
        yield axes
        drawn.savefig(path, metadata={"Date": None})
        pyplot.close(drawn)


def draw_bars(path: Path, title: str, values: Mapping[str, float]) -> None:
    """Draw horizontal bars by name, from top to bottom; those whose name begins with Eaves are highlighted."""
    colours = [OURS if name.startswith("Eaves") else GREY for name in values]
    with figure(path, title, width=6, height=0.9 + 0.32 * len(values)) as axes:
        bars = axes.barh(list(values), list(values.values()), color=colours)
        axes.bar_label(
            bars, [f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in values.values()], padding=4
        )
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.tick_params(left=False)
