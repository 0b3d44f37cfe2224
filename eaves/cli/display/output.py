"""Printing of results and messages: rows as a table, JSON or YAML on stdout, messages on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from eaves.base.terminal import escape, escape_json, is_safe
from eaves.cli.display.cell_text import describe_age
from eaves.cli.display.table import Columns, render_table

__all__ = [
    "Command",
    "describe_age",
    "output_option",
    "print_fields",
    "print_line",
    "print_rows",
    "print_sentence",
    "print_value",
    "progress",
    "say",
]
Command = TypeVar("Command", bound=Callable[..., Any])
_WIDE = "eaves.output.wide"
_TABLES = "eaves.output.tables"


def output_option(command: Command) -> Command:
    """Add `-o` to a command, which receives `table`, `json` or `yaml` as `form`; `wide` is a table in full width."""
    choice = click.Choice(["table", "wide", "json", "yaml"])
    return click.option(
        "-o",
        "--output",
        "form",
        type=choice,
        default="table",
        show_default=True,
        callback=_keep_wide,
        help="Format of the result. A table fits the terminal; wide has every column and full ids.",
    )(command)


def _keep_wide(ctx: click.Context, _: click.Parameter, form: str) -> str:
    """Replace `-o wide` by `table`, and store in the click context that `print_rows` prints tables in full width."""
    if form == "wide":
        ctx.meta[_WIDE] = True
        return "table"
    return form


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Columns, form: str, *, whole_words: bool = False) -> None:
    """Print rows on stdout.

    Args:
        rows: Plain data.
        columns: Key of a row to its column or heading; a table shows only these keys, and JSON and YAML all keys.
        form: `table`, `json` or `yaml`.
        whole_words: Whether no word of a table is ever cut, even where the terminal is narrower.
    """
    if form == "table":
        _print_table(rows, columns, whole_words=whole_words)
    else:
        print_value(list(rows), form)


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


def begin_output() -> None:
    """Forget the tables printed so far, so that the next table isn't preceded by an empty line."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None:
        ctx.meta.pop(_TABLES, None)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Columns, *, whole_words: bool) -> None:
    ctx = click.get_current_context(silent=True)
    meta = ctx.meta if ctx is not None else {}
    wide = bool(meta.get(_WIDE))
    if meta.get(_TABLES):
        click.echo()  # between two tables of one command
    meta[_TABLES] = True
    table = render_table(rows, columns, width=_find_width(), wide=wide, whole_words=whole_words)
    for line in table.lines:
        click.echo(line)
    if table.left_out:
        say(f"columns that don't fit the terminal: {', '.join(table.left_out)}; -o wide shows them")


def _find_width() -> int | None:
    """Return the width that a table must fit: the terminal's, or that in the variable COLUMNS; None for no limit.

    A pipe or file has no limit: as with `kubectl get`, each row is one line there, for grep and awk.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(1, shutil.get_terminal_size().columns)
    return None


def print_sentence(text: str) -> None:
    """Print a sentence on stdout, wrapped between words on a terminal."""
    import textwrap

    shown = escape(text)
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns)
        shown = textwrap.fill(shown, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    click.echo(shown)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and their values on stdout, aligned; on a terminal, long values are wrapped between words.

    Args:
        fields: Name and value of each line, neither of which holds a line break.
    """
    import textwrap

    columns = max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else sys.maxsize
    width = max((len(name) for name, _ in fields), default=0) + 4
    for name, value in ((escape(name), escape(value)) for name, value in fields):
        first = f"  {name}".ljust(width)
        lines = textwrap.wrap(value, columns - width, break_long_words=False, break_on_hyphens=False) or [""]
        if max(map(len, lines)) > columns - width:  # a digest for instance: a line of its own
            lines = ["", *textwrap.wrap(value, columns - 4, break_long_words=False, break_on_hyphens=False)]
            width_below = 4
        else:
            width_below = width
        click.echo(f"{first}{lines[0]}".rstrip())
        for line in lines[1:]:
            click.echo(" " * width_below + line)


def print_line(text: object) -> None:
    """Print one result on stdout, with characters that could steer a terminal made visible."""
    click.echo(escape(str(text)))


def say(text: str) -> None:
    """Print a message on stderr, with characters that could steer a terminal made visible."""
    click.echo(escape(text), err=True)


def progress(label: str, length: int) -> Any:
    """Return a progress bar on stderr, a context manager with `update(steps)`; without a terminal, it is hidden."""
    return click.progressbar(length=length, label=label, file=sys.stderr)
