"""Repeated printing of a view: in place on a terminal, otherwise one copy below the other."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import click

from eaves.cli.display.output import begin_output
from eaves.cli.live.event_lines import count_columns
from eaves.cli.live.items import print_item
from eaves.cli.live.loop import repeat
from eaves.errors import ConfigError, EavesError
from eaves.options import print_error

HOME, CLEAR, END_OF_SCREEN = "\x1b[H", "\x1b[2J", "\x1b[J"
"""Terminal control sequences: cursor to the top left, clear the screen, clear from the cursor to the end. They change
no mode of the terminal, so nothing has to be restored when the view ends.

Source: ECMA-48, CUP, ED 2 and ED 0."""


class Capture(io.StringIO):
    """Stream that collects what a command prints; it reports the same `isatty` as the stream that it replaces."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._is_terminal


def watch(show: Callable[[], None], form: str, *, every_s: float) -> None:
    """Show a view again and again, until Ctrl-C or until stdout has no reader.

    A view that fails shows its error and is tried again at the next step; a fault in the settings ends the command.

    Args:
        show: Prints the view on stdout and its messages on stderr.
        form: `table`, or `json` or `yaml`: one JSON line or one YAML document for each view.
        every_s: Pause between two views, seconds.

    Raises:
        ConfigError: When the settings have faults.
    """
    is_terminal = sys.stdout.isatty()
    is_first, said = True, ""

    def step() -> None:
        nonlocal is_first, said
        out, beside = _run(show, is_terminal=is_terminal)
        if form != "table":
            _print_data(out, form)
            if beside != said:
                click.echo(beside, err=True, nl=False)
                said = beside
        elif is_terminal:
            sys.stdout.write((CLEAR if is_first else "") + build_screen(out + beside, every_s))
        else:
            click.echo(time.strftime("%H:%M:%S\n") + out + beside)
        is_first = False

    repeat(step, every_s=every_s)


def build_screen(text: str, every_s: float) -> str:
    """Return the text that draws a view in place of the former one, cut to the size of the terminal.

    Args:
        text: Text of the view.
        every_s: Pause between two views, seconds, which the line above the view shows.
    """
    size = shutil.get_terminal_size()
    head = f"{time.strftime('%H:%M:%S')}, every {every_s:g} s; Ctrl-C ends this"
    rows, kept = 2, [head]
    lines = text.splitlines()
    for number, line in enumerate(lines):
        rows += max(1, -(-count_columns(click.unstyle(line)) // size.columns))
        if rows > size.lines - 1:
            kept.append(f"({len(lines) - number} more lines; make the terminal higher)")
            break
        kept.append(line)
    # Lines are not cleared one by one: at the end of a line that fills the terminal, ED 0 deletes its last character.
    return HOME + END_OF_SCREEN + "".join(f"{line}\n" for line in kept)


def _run(show: Callable[[], None], *, is_terminal: bool) -> tuple[str, str]:
    """Run a view and return what it prints on stdout and on stderr."""
    out, beside = Capture(is_terminal=is_terminal), Capture(is_terminal=is_terminal)
    begin_output()
    with redirect_stdout(out), redirect_stderr(beside):
        try:
            show()
        except ConfigError:
            raise
        except EavesError as error:
            print_error(error)
    return out.getvalue(), beside.getvalue()


def _print_data(text: str, form: str) -> None:
    """Print a view that is JSON or YAML as one item."""
    if not text.strip():  # it failed
        return
    if form == "json":
        print_item(json.loads(text), form)
    else:
        click.echo(f"---\n{text}", nl=False)
