"""Values that a part of the benchmark returns: figures with required limits, tables, and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any


class UnavailableError(Exception):
    """The part can't be measured here, for example because it needs root or a cluster; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value with its required limit, for the summary at the top of the page.

    Attributes:
        name: Quantity that was measured, and what it is divided by.
        value: Measured value.
        unit: Unit of the value; empty for a ratio.
        bar: Required limit of the value; None when there is none.
        is_minimum: Whether the value must be at least the bar; else it must be at most the bar.
        measured: Absolute values that the value comes from, as a text.
        is_headline: Whether the summary has the figure even when it meets its bar.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    is_minimum: bool = False
    measured: str = ""
    is_headline: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the value, rounded as the page shows it, meets the bar."""
        if self.bar is None:
            return True
        shown = float(self.number(self.value))
        return shown >= self.bar if self.is_minimum else shown <= self.bar

    def number(self, value: float) -> str:
        """Return a value with two decimals, or without any from 100 upwards."""
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"

    def render_value(self) -> str:
        """Return the value with its unit, in bold when it misses the bar."""
        return bold(f"{self.number(self.value)} {self.unit}".rstrip(), when=not self.is_met)

    def render_bar(self) -> str:
        """Return the bar as a text, such as `at most 1.05`; empty when there is none."""
        if self.bar is None:
            return ""
        return f"{'at least' if self.is_minimum else 'at most'} {self.bar:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a section.

    Attributes:
        title: Sentence above the table; empty: none.
        heads: Heading of each column.
        rows: Cells of each row, in the order of the columns.
    """

    title: str = ""
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart.

    Attributes:
        label: Text beside the bar.
        values: Lengths of the bar's parts, in the chart's unit; one number unless the chart is a breakdown.
        is_ours: Whether the bar is a measurement of Eaves, which the chart highlights.
        note: Text behind the bar; empty: the sum of `values`.
    """

    label: str
    values: tuple[float, ...]
    is_ours: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart of horizontal bars.

    Attributes:
        name: Part of the name of the SVG file.
        title: Title of the chart, which names the quantity and its unit.
        bars: The bars, from top to bottom.
        stages: Names of the parts of each bar, when the chart is a breakdown; empty: each bar has one part.
        limits: Texts and values of vertical lines, such as a required limit.
    """

    name: str
    title: str
    bars: tuple[Bar, ...]
    stages: tuple[str, ...] = ()
    limits: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results of one part.

    Attributes:
        figures: Values for the summary.
        tables: All values.
        charts: Charts, shown above the tables.
        notes: Sentences below the tables: what was measured, and how.
    """

    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()


def join_sections(sections: Mapping[str, Section]) -> Section:
    """Return the sections of several models as one, each figure, table and chart with its model's name."""
    return Section(
        figures=tuple(
            replace(figure, name=f"{name}, {figure.name}") for name, one in sections.items() for figure in one.figures
        ),
        tables=tuple(
            replace(table, title=f"{name}: {table.title}" if table.title else f"{name}:")
            for name, one in sections.items()
            for table in one.tables
        ),
        charts=tuple(
            replace(chart, name=f"{chart.name}-{name.replace('_', '-')}", title=f"{name}: {chart.title}")
            for name, one in sections.items()
            for chart in one.charts
        ),
        notes=tuple(dict.fromkeys(note for one in sections.values() for note in one.notes)),
    )


def bold(text: str, *, when: bool) -> str:
    """Return the text in bold Markdown if `when`, else the text itself."""
    return f"**{text}**" if when else text


def build_table(rows: Sequence[Any], title: str = "") -> Table:
    """Return a table of dataclasses of one type, with a column for each field.

    A field's name is the heading: `wall_ms` becomes `wall ms`. Numbers get three significant digits.
    """
    names = [field.name for field in fields(rows[0])]
    cells = tuple(tuple(_cell(getattr(row, name)) for name in names) for row in rows)
    return Table(title=title, heads=tuple(name.replace("_", " ") for name in names), rows=cells)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def parse_section(values: dict[str, Any]) -> Section:
    """Return the section that `dataclasses.asdict` and JSON have turned into `values`."""
    return Section(
        figures=tuple(Figure(**one) for one in values["figures"]),
        tables=tuple(
            Table(title=one["title"], heads=tuple(one["heads"]), rows=tuple(map(tuple, one["rows"])))
            for one in values["tables"]
        ),
        charts=tuple(_parse_chart(one) for one in values["charts"]),
        notes=tuple(values["notes"]),
    )


def _parse_chart(values: dict[str, Any]) -> Chart:
    return Chart(
        name=values["name"],
        title=values["title"],
        bars=tuple(Bar(**{**one, "values": tuple(one["values"])}) for one in values["bars"]),
        stages=tuple(values["stages"]),
        limits=tuple((text, value) for text, value in values["limits"]),
    )
