"""A screen fits the terminal and draws over the one before."""

from __future__ import annotations

import pytest

from eaves.cli.live.frames import CLEAR, HOME, build_screen


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
