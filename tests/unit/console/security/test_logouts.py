"""Sessions that ended early, on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eaves.console.security.logouts import FILE, MAX, Logouts


def test_a_logout_survives_the_process(tmp_path: Path) -> None:
    Logouts(tmp_path).add("a", until=200.0, now=100.0)
    assert "a" in Logouts(tmp_path)
    assert "b" not in Logouts(tmp_path)


def test_the_list_is_bounded_and_forgets_what_expired_anyway(tmp_path: Path) -> None:
    logouts = Logouts(tmp_path)
    logouts.add("old", until=150.0, now=100.0)
    for number in range(5):
        logouts.add(f"n{number}", until=200.0 + number, now=160.0)
    assert "old" not in logouts
    many = Logouts(None)
    many._until = {f"m{number}": 200.0 + number for number in range(2 * MAX)}
    many.add("last", until=9_999.0, now=160.0)
    assert len(many._until) == MAX
    assert "last" in many


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "x"}', '{"a": null}', "[" * 100_000])
def test_a_damaged_list_is_replaced(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text(content)
    logouts = Logouts(tmp_path)
    assert "earlier logouts are forgotten" in caplog.text
    logouts.add("a", until=200.0, now=100.0)
    assert json.loads((tmp_path / FILE).read_text()) == {"a": 200.0}


def test_a_logout_counts_without_a_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logouts = Logouts(tmp_path / "missing")
    logouts.add("a", until=200.0, now=100.0)
    assert "a" in logouts
    assert "lasts until the console starts again" in caplog.text
