"""What every command prints the same way: rows as a table, JSON or YAML; lines; lengths of time in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from eaves.base.terminal import escape, escape_json, is_safe

Command = TypeVar("Command", bound=Callable[..., Any])
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def output_option(command: Command) -> Command:
    """`-o`: how results are printed."""
    choice = click.Choice(["table", "json", "yaml"])
    return click.option(
        "-o", "--output", "form", type=choice, default="table", show_default=True, help="Form of the result."
    )(command)


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], form: str, *, whole_words: bool = False
) -> None:
    """Print rows on stdout.

    Args:
        rows: Plain data.
        columns: Key to heading, of those a table shows; JSON and YAML show everything.
        form: `table`, `json` or `yaml`.
        whole_words: Break no heading and no number of a table, even where the terminal is narrower.
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


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, whole_words: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key, heading in columns.items():
        numeric = all(isinstance(row.get(key), (int, float)) for row in rows) and bool(rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=whole_words)
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in columns))
    width = None if sys.stdout.isatty() else 200
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
    if whole_words:
        console.width = max(console.width, console.measure(table, options=console.options.update(width=1_000)).maximum)
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_cell, value))
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else escape(str(value), keep="\n")


def print_sentence(text: str) -> None:
    """Print a sentence on stdout; on a terminal its lines end between words."""
    import shutil
    import textwrap

    shown = escape(text)
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns)
        shown = textwrap.fill(shown, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    click.echo(shown)


def print_line(text: object) -> None:
    """Print one result on stdout, with what could steer a terminal made visible."""
    click.echo(escape(str(text)))


def say(text: str) -> None:
    """Talk, on stderr, with what could steer a terminal made visible."""
    click.echo(escape(text), err=True)


def progress(label: str, length: int) -> Any:
    """A bar on stderr, hidden where stderr is no terminal; a context manager with `update(steps)`."""
    return click.progressbar(length=length, label=label, file=sys.stderr)


def describe_age(seconds: float | None) -> str:
    """A length of time in its largest unit: `45 s`, `3 min`, `5 h`, `12 d`; empty for None."""
    if seconds is None:
        return ""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
