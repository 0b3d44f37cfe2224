"""Output of commands: results on stdout as a table, JSON or YAML, messages on stderr.

Where a table is wider than the terminal, columns without a value in any row are left out, then others in the order of
their rank (`Column.drop`). rich then wraps texts between words, and cuts words that are longer than their column.
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
from eaves.console.words import describe_ms, describe_size
from eaves.problem_document import describe_reason

if TYPE_CHECKING:
    from rich.table import Table

    from eaves.artifact import Artifact, GoldenResult

Command = TypeVar("Command", bound=Callable[..., Any])
_WIDE = "eaves.output.wide"
_TABLES = "eaves.output.tables"
GAP = 3
"""Number of spaces between two columns."""
UNLIMITED = 1_000_000
"""Width of a table that isn't limited, terminal cells."""
ID_DIGITS = 8
"""Number of hexadecimal digits of an id that a table shows. Two random ids have the same 8 digits with a probability of
1 in 4,000 million."""
_LONG_ID = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


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
        optional: Whether a table leaves the column out if no row has a value.
    """

    heading: str
    kind: Kind = Kind.TEXT
    drop: int = 0
    optional: bool = False


Columns = Mapping[str, str | Column]
"""Key of a row to its column, or to the heading of a column of texts and numbers that is never left out."""


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
    from rich.console import Console
    from rich.measure import Measurement

    stream = StringIO()
    # Without a height, rich takes 80 columns where TERM is `dumb`.
    console = Console(
        file=stream, width=UNLIMITED, height=25, color_system=None, markup=False, emoji=False, highlight=False
    )
    wanted = {key: _as_column(column) for key, column in columns.items()}
    given = {key for row in rows for key, value in row.items() if value is not None}
    shown, left_out = {key: one for key, one in wanted.items() if key in given or not one.optional}, []
    table = _build_table(rows, shown, is_wide=is_wide)
    while width is not None and Measurement.get(console, console.options, table).minimum > width:
        ranks = {key: (any(row.get(key) for row in rows), column.drop) for key, column in shown.items() if column.drop}
        if not ranks:
            break
        key = min(ranks, key=lambda key: ranks[key])
        heading = shown.pop(key).heading
        left_out += [heading] if ranks[key][0] else []
        table = _build_table(rows, shown, is_wide=is_wide)
    rigid = sum(column.min_width or 0 for column in table.columns) + GAP * (len(table.columns) - 1)
    console.print(table, width=max(width or UNLIMITED, rigid))
    return [line.rstrip() for line in stream.getvalue().splitlines()], left_out


def _as_column(column: str | Column) -> Column:
    return column if isinstance(column, Column) else Column(column)


def _build_table(rows: Sequence[Mapping[str, Any]], columns: Columns, *, is_wide: bool) -> Table:
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="")
    cells = []
    for key, column in columns.items():
        kind, heading = _as_column(column).kind, _as_column(column).heading
        values = [row.get(key) for row in rows]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        cells.append([_write(value, kind, is_wide=is_wide) for value in values])
        is_rigid = numeric or kind in _RIGID
        whole = [line for cell in cells[-1] for line in cell.split("\n")] if is_rigid else []
        table.add_column(
            heading,
            justify="right" if numeric and kind is not Kind.MOMENT else "left",
            no_wrap=is_rigid,
            overflow="fold" if kind is Kind.PATH else "ellipsis",
            min_width=max(map(cell_len, [*heading.split(), *whole])),
        )
    for line in zip(*cells, strict=True):
        table.add_row(*line)
    return table


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


def describe_age(seconds: float | None) -> str:
    """Return a length of time in its largest unit: `45 s`, `3 min`, `5 h`, `12 d`; empty for None."""
    if seconds is None:
        return ""
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


_NUMBERS: Mapping[Kind, Callable[[float], str]] = {
    Kind.MILLISECONDS: describe_ms,
    Kind.BYTES: describe_size,
}


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
