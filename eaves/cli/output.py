"""Output of commands: results on stdout as a table, JSON or YAML, messages on stderr.

Where a table is wider than the terminal, these steps follow each other until it fits:

1. texts wrap between words, and paths after a `/`;
2. columns without a value in any row are left out, then others in the order of their rank (`Column.drop`);
3. words that are longer than their column end in an ellipsis, in the columns with the longest words.

Numbers, moments, sizes and ids are never wrapped or cut. Without a terminal, as in a pipe, a table has all its columns
and no text wraps, as with `kubectl get`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.base.terminal import escape, escape_json, is_safe
from eaves.problem_document import describe_reason

if TYPE_CHECKING:
    from eaves.artifact import Artifact, GoldenResult

Command = TypeVar("Command", bound=Callable[..., Any])
_WIDE = "eaves.output.wide"
_TABLES = "eaves.output.tables"
GAP = 3
"""Number of spaces between two columns."""
MAX_WORD, MAX_PATH, MIN_WORD = 24, 48, 8
"""Length of a word and of a path in terminal cells: a column is left out rather than cut a word of at most `MAX_WORD`
or wrap a path of at most `MAX_PATH`. No word is cut below `MIN_WORD`."""
ID_DIGITS = 8
"""Number of hexadecimal digits of an id that a table shows. Two random ids have the same 8 digits with a probability of
1 in 4,000 million."""
_LONG_ID = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Kind(Enum):
    """Kind of the values in a column, which decides how its cells are written and shortened."""

    TEXT = "text"
    PATH = "path"
    ID = "id"
    MOMENT = "moment"
    MILLISECONDS = "milliseconds"
    BYTES = "bytes"
    REASON = "reason"


_RIGID = (Kind.MILLISECONDS, Kind.BYTES, Kind.MOMENT, Kind.ID)


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


class _Strip:
    """A column that is laid out: its cells as text, and the widths at which no word is cut and at which none wraps."""

    def __init__(self, values: Sequence[Any], column: str | Column, *, is_wide: bool) -> None:
        self.column = column if isinstance(column, Column) else Column(column)
        kind, heading = self.column.kind, self.column.heading
        self.cells = [_write(value, kind, is_wide=is_wide) for value in values]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        self.is_right = numeric and kind is not Kind.MOMENT
        self.is_rigid = numeric or kind in _RIGID
        lines = [heading, *(line for cell in self.cells for line in cell.split("\n"))]
        self.natural = self.least = max(map(measure, lines))
        if not self.is_rigid:
            whole = kind is Kind.PATH
            words = [word for line in lines for word in ([line] if whole else line.split())]
            limit = MAX_PATH if whole else MAX_WORD
            self.least = max(measure(heading), *(min(limit, measure(one)) for one in words))

    def cut(self) -> None:
        """Let words of the column be cut, as far as its heading and `MIN_WORD` allow."""
        if not self.is_rigid:
            self.least = min(self.least, max(MIN_WORD, measure(self.column.heading)))


def output_option(command: Command) -> Command:
    """Add `-o` to a command, which receives `table`, `json` or `yaml` as `form`; `wide` is a table in full width."""

    def keep_wide(ctx: click.Context, _: click.Parameter, form: str) -> str:
        ctx.meta[_WIDE] = form == "wide"
        return "table" if form == "wide" else form

    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(["table", "wide", "json", "yaml"]),
        default="table",
        show_default=True,
        callback=keep_wide,
        help="Format of the result. A table fits the terminal; wide has every column and full ids.",
    )(command)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Columns, form: str) -> None:
    """Print rows on stdout.

    Args:
        rows: Plain data.
        columns: The columns of a table, from left to right; JSON and YAML have all keys of the rows.
        form: `table`, `json` or `yaml`.
    """
    if form != "table":
        print_value(list(rows), form)
        return
    ctx = click.get_current_context(silent=True)
    meta = ctx.meta if ctx is not None else {}
    if meta.get(_TABLES):
        click.echo()  # between two tables of one command
    meta[_TABLES] = True
    is_wide = bool(meta.get(_WIDE))
    lines, left_out = render_table(rows, columns, width=None if is_wide else _find_width(), is_wide=is_wide)
    for line in lines:
        click.echo(line)
    if left_out:
        say(f"columns that don't fit the terminal: {', '.join(left_out)}; -o wide shows them")


def _find_width() -> int | None:
    """Return the width that a table must fit: the terminal's, or that in the variable COLUMNS; None for no limit."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(1, shutil.get_terminal_size().columns)
    return None


def render_table(
    rows: Sequence[Mapping[str, Any]], columns: Columns, *, width: int | None, is_wide: bool = False
) -> tuple[list[str], list[str]]:
    """Return the lines of a table, and the headings of columns that hold values and don't fit `width`.

    Args:
        rows: Plain data.
        columns: The columns, from left to right.
        width: Maximum width of a line, terminal cells; None for no limit.
        is_wide: Whether ids, sizes and reasons are written in full.
    """
    strips = [_Strip([row.get(key) for row in rows], column, is_wide=is_wide) for key, column in columns.items()]
    if width is None:
        return _draw(strips, [strip.natural for strip in strips]), []

    def room() -> int:
        return width - sum(strip.least for strip in strips) - GAP * (len(strips) - 1)

    left_out = []
    if sum(strip.natural + GAP for strip in strips) - GAP > width:
        # Columns without a value go first.
        for strip in sorted(
            (one for one in strips if one.column.drop), key=lambda one: (any(one.cells), one.column.drop)
        ):
            if room() >= 0:
                break
            strips.remove(strip)
            left_out += [strip.column.heading] if any(strip.cells) else []
    if room() < 0:
        for strip in strips:
            strip.cut()
    left = max(0, room())
    for strip in sorted(strips, key=lambda one: one.natural - one.least):  # most columns get what they want
        more = min(left, strip.natural - strip.least)
        strip.least, left = strip.least + more, left - more
    return _draw(strips, [strip.least for strip in strips]), left_out


def _write(value: Any, kind: Kind, *, is_wide: bool) -> str:
    """Return a cell as text; a list has one line for each item."""
    if isinstance(value, list):
        return "\n".join(_write(str(item) if isinstance(item, list) else item, kind, is_wide=is_wide) for item in value)
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind is Kind.MOMENT:
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
            return moment if is_wide else f"{describe_age(max(0.0, time.time() - value))} ago"
        if kind in _NUMBERS and not is_wide:
            return _NUMBERS[kind](value)
        return f"{value:.3f}" if isinstance(value, float) else str(value)
    text = str(value)
    if not is_wide:
        text = describe_reason(text) if kind is Kind.REASON else shorten_id(text) if kind is Kind.ID else text
    return escape(text, keep="\n")


def _draw(strips: Sequence[_Strip], widths: Sequence[int]) -> list[str]:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="")
    for strip, width in zip(strips, widths, strict=True):
        justify: Any = "right" if strip.is_right else "left"
        table.add_column(strip.column.heading, width=width, justify=justify, overflow="ellipsis")
    for cells in zip(*(strip.cells for strip in strips), strict=True):
        pairs = zip(strips, cells, widths, strict=True)
        table.add_row(
            *(_wrap_path(cell, width) if one.column.kind is Kind.PATH else cell for one, cell, width in pairs)
        )
    total = max(1, sum(widths) + GAP * len(widths))
    stream = StringIO()
    # Without a height, rich takes 80 columns where TERM is `dumb`.
    console = Console(
        file=stream, width=total, height=25, color_system=None, markup=False, emoji=False, highlight=False
    )
    console.print(table)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def _wrap_path(cell: str, width: int) -> str:
    """Return a path with line breaks after a `/` where it doesn't fit the width of its column."""
    lines = [""]
    for piece in re.findall(r"\n|\s+|[^\s/]*/|[^\s/]+", cell):
        if piece == "\n" or measure(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece.strip("\n")
    return "\n".join(lines).removeprefix("\n")


def measure(text: str) -> int:
    """Return the width of a text in terminal cells."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def describe_age(seconds: float | None) -> str:
    """Return a length of time in its largest unit: `45 s`, `3 min`, `5 h`, `12 d`; empty for None."""
    if seconds is None:
        return ""
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def describe_duration(seconds: float) -> str:
    """Return a duration with at most three digits and its unit: `4.2 ms`, `643 ms`, `1.3 s`, `2 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.00995 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 59.95 else describe_age(max(60.0, seconds))


def describe_bytes(size_bytes: float) -> str:
    """Return a size in decimal units: `512 B`, `20.5 kB`, `1.2 GB`."""
    for size, unit in _SIZES:
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"


_NUMBERS: Mapping[Kind, Callable[[float], str]] = {
    Kind.MILLISECONDS: lambda milliseconds: describe_duration(milliseconds / 1e3),
    Kind.BYTES: describe_bytes,
}


def describe_kept(count: int) -> str:
    """Return what happens to events whose subscriber is removed: `is kept as a dead letter`, or its plural."""
    return "is kept as a dead letter" if count == 1 else "are kept as dead letters"


def shorten_id(text: str) -> str:
    """Return the first 8 digits of a long hexadecimal id, UUID or digest (`sha256:...`), and any other id as it is."""
    algorithm, colon, digits = text.rpartition(":")
    return f"{algorithm}{colon}{digits[:ID_DIGITS]}" if _LONG_ID.fullmatch(digits) else text


def print_value(value: Any, form: str) -> None:
    """Print any plain data as JSON or YAML on stdout."""
    if form == "json":
        click.echo(escape_json(json.dumps(value, indent=2, ensure_ascii=False)))
        return
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if not is_safe(text):
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=False)
    click.echo(text.rstrip())


def print_sentence(text: str, *, indent: str = "  ") -> None:
    """Print a sentence on stdout; on a terminal it is wrapped between words, and further lines are indented."""
    line = escape(text)
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns)
        line = textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    click.echo(line)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and their values on stdout, aligned; on a terminal, long values are wrapped between words."""
    width = max((len(name) for name, _ in fields), default=0) + 4
    for name, value in fields:
        print_sentence(f"  {name}".ljust(width) + value, indent=" " * 4)


def print_line(text: object) -> None:
    """Print one result on stdout, with characters that could steer a terminal made visible."""
    click.echo(escape(str(text)))


def print_manifests(
    rendered: Mapping[str, Sequence[Mapping[str, Any]]], output: Path | None, advice: Sequence[str] = ()
) -> None:
    """Print Kubernetes objects as YAML, or write them to files and print their paths; say what to do next.

    Args:
        rendered: Name of a site to its objects, in the order of applying; several sites have a folder each.
        output: Folder for the files; None prints YAML.
        advice: Lines for the person, such as the commands that create Secrets.
    """
    from knative.resources.rendering import to_yaml, write_files

    if output is None:
        click.echo("---\n".join(to_yaml(one) for manifests in rendered.values() for one in manifests), nl=False)
    else:
        command = click.get_current_context().command_path
        head = f"# Written by `{command}` for `kubectl apply -f`. To change it, run this command again.\n"
        for name, manifests in rendered.items():
            for path in write_files(manifests, output / name if len(rendered) > 1 else output, head=head):
                click.echo(path)
        say(f"to apply the files: kubectl apply -f {output}{'/SITE' if len(rendered) > 1 else ''}")
    for line in advice:
        say(line)


def say(text: str) -> None:
    """Print a message on stderr, with characters that could steer a terminal made visible."""
    click.echo(escape(text), err=True)


def progress(label: str, length: int, *, is_hidden: bool = False) -> Any:
    """Return a progress bar on stderr, a context manager with `update(steps)`; without a terminal, only its label."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=is_hidden)


def replay_with_progress(
    artifact: Artifact, *, run_handler: bool = False, prepared: Path | None = None
) -> Sequence[GoldenResult]:
    """Replay every golden case of an artifact in a child process, with a progress bar.

    The child then prepares the graph for this machine's CPU in the folder `prepared`. A failure is a warning, because
    the artifact's own graph suffices.

    Raises:
        EavesError: When the child process can't replay a case; `eaves.inference.replay` lists the causes.
    """
    from eaves.artifact import load_golden
    from eaves.inference.replay import replay_in_child

    with progress("replaying golden images", len(load_golden(artifact))) as bar:
        return replay_in_child(
            artifact,
            run_handler=run_handler,
            on_case=bar.update,
            prepared=prepared,
            on_unprepared=lambda reason: say(
                f"warning: {reason}; the function starts without a prepared graph, which takes longer"
            ),
        )


def confirm(question: str, *, yes: bool, asks: str = "the command") -> None:
    """Ask a question unless `yes` is given; `asks` is what asks, for the error where nobody can answer.

    Raises:
        click.Abort: When the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} {asks} asks for confirmation, and stdin is no terminal; add --yes.")
    click.confirm(question, abort=True, err=True)
