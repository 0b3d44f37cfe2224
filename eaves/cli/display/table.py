"""Tables that fit a terminal: columns are left out before a word is broken.

Where a table is wider than the terminal, these steps follow each other until it fits:

1. texts wrap between words;
2. columns without a value in any row are left out;
3. columns are left out in the order of their rank (`Column.drop`);
4. words that are longer than their column end in an ellipsis; paths keep their end instead.

Numbers, moments, sizes and ids are never wrapped or cut. A table that doesn't fit after all steps is printed wider than
the terminal. Without a width, as in a pipe, a table has all its columns and no text wraps, as with `kubectl get`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eaves.base.terminal import escape
from eaves.cli.display.cell_text import (
    describe_bytes,
    describe_milliseconds,
    describe_moment,
    describe_seconds,
    shorten_id,
)
from eaves.web.problem_document import describe_reason

GAP = "   "
LONGEST_WORD = 24
"""Length of a word in terminal cells. A column is left out rather than cut a word of at most this length; longer words
are cut first."""
SHORTEST_WORD = 8
"""Number of terminal cells below which no word is cut."""
ELLIPSIS = "…"


class Kind(Enum):
    """Kind of the values in a column, which decides how its cells are written and shortened."""

    TEXT = "text"
    NUMBER = "number"
    PATH = "path"
    ID = "id"
    MOMENT = "moment"
    MILLISECONDS = "milliseconds"
    SECONDS = "seconds"
    BYTES = "bytes"
    REASON = "reason"


_RIGHT = (Kind.NUMBER, Kind.MILLISECONDS, Kind.SECONDS, Kind.BYTES)
_RIGID = (*_RIGHT, Kind.MOMENT, Kind.ID)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        heading: Text above the column.
        kind: Kind of the values in the column.
        drop: Rank from 1 in the order in which columns are left out of a table that is too wide; a column with rank 0
            is never left out.
    """

    heading: str
    kind: Kind = Kind.TEXT
    drop: int = 0


Columns = Mapping[str, str | Column]
"""Key of a row to its column, or to the heading of a column of texts and numbers that is never left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedTable:
    """A table as lines of text.

    Attributes:
        lines: The heading and the rows, without line breaks.
        left_out: Headings of the columns that were left out although they hold values.
    """

    lines: list[str]
    left_out: list[str]


@dataclass(slots=True)
class _Strip:
    """One column of a table that is being laid out, with its width and the lines of each of its cells."""

    column: Column
    cells: list[list[str]]
    rigid: bool
    right: bool
    width: int = 0


def render_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Columns,
    *,
    width: int | None,
    wide: bool = False,
    whole_words: bool = False,
) -> RenderedTable:
    """Render rows as a table.

    Args:
        rows: Plain data.
        columns: The columns, from left to right.
        width: Maximum width of a line, cells; None for no limit.
        wide: Whether ids, sizes and reasons are written in full, without a limit of the width.
        whole_words: Whether no word is ever cut, even where the table becomes wider than `width`.
    """
    now = time.time()
    strips = [_build_strip(rows, key, column, now=now, wide=wide) for key, column in columns.items()]
    if width is None or wide:
        for strip in strips:
            strip.width = _natural(strip)
        return RenderedTable(lines=_lines(strips), left_out=[])
    left_out = _fit(strips, width, whole_words=whole_words)
    return RenderedTable(lines=_lines(strips), left_out=left_out)


def _build_strip(
    rows: Sequence[Mapping[str, Any]], key: str, column: str | Column, *, now: float, wide: bool
) -> _Strip:
    chosen = column if isinstance(column, Column) else Column(column)
    values = [row.get(key) for row in rows]
    numeric = (
        chosen.kind is not Kind.MOMENT and bool(values) and all(isinstance(value, (int, float)) for value in values)
    )
    right = numeric or (chosen.kind in _RIGHT and all(not isinstance(value, str) for value in values))
    cells = [_write(value, chosen.kind, now=now, wide=wide).split("\n") for value in values]
    return _Strip(column=chosen, cells=cells, rigid=numeric or chosen.kind in _RIGID, right=right)


def _write(value: Any, kind: Kind, *, now: float, wide: bool) -> str:
    if isinstance(value, list):
        items = (str(item) if isinstance(item, list) else item for item in value)
        return "\n".join(_write(item, kind, now=now, wide=wide) for item in items)
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _write_number(value, kind, now=now, wide=wide)
    text = str(value)
    if not wide:
        text = describe_reason(text) if kind is Kind.REASON else shorten_id(text) if kind is Kind.ID else text
    return escape(text, keep="\n")


_NUMBERS: Mapping[Kind, Callable[[float], str]] = {
    Kind.MILLISECONDS: describe_milliseconds,
    Kind.SECONDS: describe_seconds,
    Kind.BYTES: describe_bytes,
}


def _write_number(value: float, kind: Kind, *, now: float, wide: bool) -> str:
    if kind is Kind.MOMENT:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) if wide else describe_moment(value, now)
    if kind in _NUMBERS and not wide:
        return _NUMBERS[kind](value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _fit(strips: list[_Strip], width: int, *, whole_words: bool) -> list[str]:
    """Remove columns from `strips` until the table fits `width`, and set the width of each remaining column.

    Returns:
        The headings of columns that hold values and were left out.
    """
    if _total([_natural(strip) for strip in strips]) > width:
        for strip in [one for one in strips if one.column.drop and not any(map(any, one.cells))]:
            if _total([_least(strip, LONGEST_WORD) for strip in strips]) > width:
                strips.remove(strip)
    left_out: list[str] = []
    for strip in sorted((one for one in strips if one.column.drop), key=lambda one: one.column.drop):
        if _total([_least(strip, LONGEST_WORD) for strip in strips]) <= width:
            break
        strips.remove(strip)
        left_out.append(strip.column.heading)
    _share(strips, width, whole_words=whole_words)
    return left_out


def _share(strips: list[_Strip], width: int, *, whole_words: bool) -> None:
    """Set the width of each column: first what its words need, then the remaining width is shared out."""
    limit = LONGEST_WORD
    while not whole_words and limit > SHORTEST_WORD and _total([_least(strip, limit) for strip in strips]) > width:
        limit -= 1
    for strip in strips:
        strip.width = _least(strip, 10**6 if whole_words else limit)
    left = width - _total([strip.width for strip in strips])
    for wanted in (lambda strip: _least(strip, 10**6), _natural):
        # The columns that lack least are served first, so that most columns get what they want.
        for strip in sorted(strips, key=lambda one: wanted(one) - one.width):
            more = min(max(0, wanted(strip) - strip.width), max(0, left))
            strip.width, left = strip.width + more, left - more


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * max(0, len(widths) - 1)


def _natural(strip: _Strip) -> int:
    """Return the width of a column at which no cell wraps, terminal cells."""
    return max(_cells(line) for line in [strip.column.heading, *(line for cell in strip.cells for line in cell)])


def _least(strip: _Strip, limit: int) -> int:
    """Return the minimum width of a column at which no word of at most `limit` terminal cells is cut."""
    if strip.rigid:
        return _natural(strip)
    words = [word for cell in strip.cells for line in cell for word in line.split()]
    return max(_cells(strip.column.heading), *(min(limit, _cells(word)) for word in words), 0)


def _lines(strips: Sequence[_Strip]) -> list[str]:
    count = len(strips[0].cells) if strips else 0
    lines = [_line(strips, [strip.column.heading for strip in strips])]
    for index in range(count):
        wrapped = [[part for line in strip.cells[index] for part in _wrap(line, strip)] for strip in strips]
        height = max(map(len, wrapped))
        for number in range(height):
            texts = [parts[number] if number < len(parts) else "" for parts in wrapped]
            lines.append(_line(strips, texts))
    return lines


def _line(strips: Sequence[_Strip], texts: Sequence[str]) -> str:
    cells = []
    for strip, text in zip(strips, texts, strict=True):
        space = " " * (strip.width - _cells(text))
        cells.append(space + text if strip.right else text + space)
    return GAP.join(cells).rstrip()


def _wrap(line: str, strip: _Strip) -> list[str]:
    """Return the lines of one cell, broken between words only."""
    if strip.rigid or _cells(line) <= strip.width:
        return [line]
    parts = [""]
    for word in line.split():
        shown = _shorten(word, strip.width, keep_end=strip.column.kind is Kind.PATH)
        joined = f"{parts[-1]} {shown}" if parts[-1] else shown
        if _cells(joined) <= strip.width:
            parts[-1] = joined
        else:
            parts.append(shown)
    return parts


def _shorten(word: str, width: int, *, keep_end: bool) -> str:
    """Return a word of at most `width` cells, with an ellipsis in place of what is cut off."""
    if _cells(word) <= width:
        return word
    kept = word
    while kept and _cells(kept) > width - 1:
        kept = kept[1:] if keep_end else kept[:-1]
    return ELLIPSIS + kept if keep_end else kept + ELLIPSIS


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
