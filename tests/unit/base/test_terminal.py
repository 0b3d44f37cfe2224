"""Text of others on its way to a terminal: what steers a terminal is shown, never obeyed."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.base.terminal import escape, escape_json
from eaves.cli import cli
from eaves.events import Event
from eaves.history import FileHistory
from eaves.local.state import StateDirectory
from eaves.logs import configure

HOSTILE = "\x1b]0;owned\x07\x1b[31mrose\x9b2J\u202eesor\u2066\x00\r\x7f\udcff"
VISIBLE = r"\x1b]0;owned\x07\x1b[31mrose\x9b2J\u202eesor\u2066\x00\x0d\x7f\udcff"


def unsafe(text: str) -> list[str]:
    """Characters of `text` that could steer a terminal."""
    steering = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0x202A, 0x202F)), "\u2066"}
    return sorted((steering - {"\n"}) & set(text)) + [char for char in text if "\ud800" <= char <= "\udfff"]


def test_what_steers_a_terminal_is_shown_as_an_escape():
    assert escape(HOSTILE) == VISIBLE
    assert escape("a\u2028b\u061c\u200f") == r"a\u2028b\u061c\u200f"


@pytest.mark.parametrize("text", ["Tür", "نیم\u200cفاصله", "a\tb\nc"])
def test_what_people_write_stays_as_it_is(text: str):
    assert escape(text) == text


def test_escaped_json_means_the_same():
    written = escape_json(json.dumps({"label": HOSTILE}, indent=1, ensure_ascii=False))
    assert unsafe(written) == []
    assert json.loads(written) == {"label": HOSTILE}


@contextmanager
def captured(name: str) -> Iterator[io.StringIO]:
    """What is written to sys.stdout or sys.stderr meanwhile."""
    before, stream = getattr(sys, name), io.StringIO()
    setattr(sys, name, stream)
    try:
        yield stream
    finally:
        setattr(sys, name, before)


@contextmanager
def plain_logging() -> Iterator[io.StringIO]:
    """The plain format of a terminal's log lines, with the root logger as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        with captured("stderr") as stream:
            configure(as_json=False)
            yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_plain_log_line_shows_it_and_stays_one_line():
    with plain_logging() as stream:
        logging.getLogger("x").warning("refused: %s", f"{HOSTILE}\n2026-01-01 00:00:00 ERROR forged")
    (line,) = stream.getvalue().splitlines()
    assert unsafe(line) == []
    assert line.endswith(rf"WARNING refused: {VISIBLE}\x0a2026-01-01 00:00:00 ERROR forged")


def test_the_commands_that_show_what_flowed_and_what_was_logged_show_it(tmp_path: Path):
    state = StateDirectory(root=tmp_path / "s")
    state.prepare()
    history = FileHistory(state.history)
    data = json.dumps({"predictions": [{"label": HOSTILE, "score": 1}]}).encode()
    history.add(Event(id="1", source="/s", type="t", datacontenttype="application/json", data=data))
    history.close()
    state.log("digits").write_bytes(f"{HOSTILE[:-1]}\n".encode())
    for command in (["events"], ["logs", "digits"]):
        done = CliRunner().invoke(cli, [*command, "--state", str(state.root)])
        assert done.exit_code == 0, done.output
        assert unsafe(done.output) == []
        assert r"\x1b]0;owned" in done.output
