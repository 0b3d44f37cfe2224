"""Writes docs/benchmarks.md and its charts from the stored results."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.plots.bars import draw_bars
from bench.registry import PARTS, Part
from bench.report.machine import ROOT
from bench.report.section import Section, Table
from bench.report.store import Result

DOCS = ROOT / "docs"
PAGE = "benchmarks.md"
HEAD = """\
# Benchmarks

This page has the speed, the start and the memory of Eaves beside lower limits (floors) and other servers, for readers
who choose hardware. `make bench` measures everything and writes the page; `make bench BENCH=one_at_a_time,package`
measures some parts. A ratio compares processes that took turns in one run, so it depends little on the machine;
milliseconds depend on it. A figure in **bold** misses its bar, the limit that the project sets itself, or loses to
another server.
"""


def write_page(results: Mapping[str, Result], docs: Path = DOCS, parts: Sequence[Part] = PARTS) -> Path:
    """Write the page and its charts for all parts, and delete charts that no longer belong to it.

    Args:
        results: Stored result of each part by its name.
        docs: Directory of the page.
        parts: Parts in the order of the page.

    Returns:
        Path of the page.
    """
    page = docs / PAGE
    for old in docs.glob("benchmark-*.svg"):
        old.unlink()
    for _, result in _measured(results, parts):
        for chart in result.charts:
            (docs / f"benchmark-{chart.name}.svg").write_text(draw_bars(chart), encoding="utf-8")
    page.write_text(render_page(results, parts), encoding="utf-8")
    return page


def render_page(results: Mapping[str, Result], parts: Sequence[Part] = PARTS) -> str:
    """Return the page as Markdown."""
    blocks = [HEAD, _describe_run(results, parts), _summarise(results, parts)]
    blocks += [_render_part(part, results.get(part.name)) for part in parts]
    return "\n".join(blocks)


def _measured(results: Mapping[str, Result], parts: Sequence[Part]) -> Iterator[tuple[Part, Section]]:
    for part in parts:
        result = results.get(part.name)
        if result is not None and result.section is not None:
            yield part, result.section


def _describe_run(results: Mapping[str, Result], parts: Sequence[Part]) -> str:
    """Return the paragraph about the machine, or about each machine when the parts ran on several."""
    found = [results[part.name] for part in parts if part.name in results]
    if not found:
        return "Nothing is measured yet.\n"
    return "\n\n".join(_wrap(_describe_machine(here)) for here in _group(found).values()) + "\n"


def _group(found: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the results by machine and software; the commit may differ between parts of one machine."""
    groups: dict[str, list[Result]] = {}
    for one in found:
        key = f"{one.machine.describe()}, {one.machine.kernel}, {one.machine.versions}"
        groups.setdefault(key, []).append(one)
    return groups


def _describe_machine(here: Sequence[Result]) -> str:
    machine = here[0].machine
    begin, end = min(one.measured_at for one in here), max(one.measured_at for one in here)
    minutes = max(1, round(sum(one.seconds for one in here) / 60))
    commits = ", ".join(dict.fromkeys(one.machine.commit or "unknown" for one in here))
    models = "; ".join(dict.fromkeys(one.model for one in here if one.model))
    return (
        f"The figures are of {machine.describe()}, {machine.kernel}, {machine.versions}, commit {commits}. The parts"
        f" took {minutes} minute{'' if minutes == 1 else 's'} in all and ended between {begin} and {end} UTC."
        + (f" The models, converted without targets, are {models}." if models else "")
    )


def _summarise(results: Mapping[str, Result], parts: Sequence[Part]) -> str:
    """Return the table of figures with a bar: the headlines and all that miss, with the CPU when there are several."""
    machines = _group(results[part.name] for part, _ in _measured(results, parts))
    rows = [row for part in parts for row in _summary_rows(part, results.get(part.name))]
    if len(machines) == 1:
        rows = [row[:-1] for row in rows]
    heads = ("part", "figure", "measured", "bar", "values", *(("machine",) if len(machines) != 1 else ()))
    return f"## The bars\n\n{render_table(Table(heads=heads, rows=tuple(rows)))}"


def _summary_rows(part: Part, result: Result | None) -> Iterator[tuple[str, ...]]:
    link = f"[{part.title}](#{anchor(part.title)})"
    if result is None or result.section is None:
        if part.has_bars:
            yield (link, "not measured", "", "", "", "")
        return
    for figure in result.section.figures:
        if figure.bar is not None and (figure.is_headline or not figure.is_met):
            yield (
                link,
                figure.name,
                figure.render_value(),
                figure.render_bar(),
                figure.measured,
                result.machine.describe(),
            )
            link = ""


def _reason(result: Result | None) -> str:
    return "this part was not run" if result is None else result.reason


def _render_part(part: Part, result: Result | None) -> str:
    lines = [f"## {part.title}", "", _wrap(part.text), ""]
    if result is None or result.section is None:
        stamp = "" if result is None else f" ({result.measured_at} UTC, {result.machine.describe()})"
        return "\n".join([*lines, _wrap(f"Not measured in this run: {_reason(result)}{stamp}."), ""])
    for chart in result.section.charts:
        lines += [f"![{chart.title}](benchmark-{chart.name}.svg)", ""]
    for table in result.section.tables:
        lines += [table.title, ""] if table.title else []
        lines += [render_table(table)]
    lines += [text for note in result.section.notes for text in (_wrap(note), "")]
    lines += [_stamp(result), ""]
    return "\n".join(lines)


def _stamp(result: Result) -> str:
    return _wrap(
        f"Measured on {result.measured_at} UTC on {result.machine.describe()}, in {result.seconds:.0f} s; the load"
        f" average was {result.load:.1f} when the part began."
    )


def render_table(table: Table) -> str:
    """Return a table as Markdown; columns of numbers are aligned to the right."""
    columns = list(zip(*table.rows, strict=True)) or [() for _ in table.heads]
    aligned = ["---:" if any(cells) and all(map(_is_number, cells)) else "---" for cells in columns]
    lines = [table.heads, aligned, *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines)


def _wrap(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _is_number(cell: str) -> bool:
    return not cell or re.fullmatch(r"\**[-+]?[\d.,]+( ?[a-zA-Z%/]+)?\**", cell) is not None


def anchor(title: str) -> str:
    """Return the anchor of a heading in Markdown. Source: GitHub's rule: lower case, no punctuation, `-` for spaces."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def utc_now() -> str:
    """Return the time as results store it: `2026-11-26 17:00`, UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())
