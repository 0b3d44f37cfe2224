"""A screen fits the terminal and draws over the one before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from eaves.cli.display.output import print_rows, say
from eaves.cli.live.frames import CLEAR, HOME, build_screen, watch
from eaves.errors import EavesError, PlatformError


@pytest.mark.parametrize("line", ["short", "写" * 60, "\x1b[1mbold\x1b[0m" + "x" * 100])
def test_a_long_view_is_cut_to_the_terminal_and_says_so(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    screen = build_screen(f"{line}\n" * 100, 2.0)
    rows = sum(
        1 if "short" in text or "more lines" in text or "Ctrl-C" in text else 2 for text in screen.split("\n")[:-1]
    )
    assert screen.startswith(HOME)
    assert CLEAR not in screen
    assert 20 <= rows <= 23
    assert "more lines; make the terminal higher" in screen


def test_a_short_view_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    screen = build_screen("one\ntwo\n", 2.0)
    assert "one" in screen
    assert "two" in screen
    assert "more lines" not in screen
    assert not [line for line in screen.split("\n") if line.endswith("\x1b[K")], "it takes a full line's last character"


def run_watch(form: str, results: Iterator[EavesError | int]) -> tuple[str, str]:
    """Standard output and standard error of a view that is shown for each result; `KeyboardInterrupt` ends it."""

    def show() -> None:
        result = next(results, None)
        if result is None:
            raise KeyboardInterrupt
        if isinstance(result, EavesError):
            raise result
        print_rows([{"number": result}], {"number": "NUMBER"}, form)
        say("beside")

    @click.command()
    def command() -> None:
        watch(show, form, every_s=0.0)

    done = CliRunner().invoke(command)
    return done.stdout, done.stderr


def test_an_error_is_shown_when_it_comes_and_once_while_it_lasts() -> None:
    error = PlatformError("eaves up gives no answer")
    out, beside = run_watch("json", iter((1, error, error, 2)))
    assert [json.loads(line) for line in out.splitlines()] == [[{"number": 1}], [{"number": 2}]]
    assert beside.count("eaves up gives no answer") == 1
    assert beside.count("beside") == 2


def test_each_table_begins_alike() -> None:
    out, _ = run_watch("table", iter((1, 2)))
    assert re.findall(r"\d\d:\d\d:\d\d\n(\n?)NUMBER", out) == ["", ""]
