"""Numbers and times in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eaves.console
from eaves.console import words

SCRIPT = Path(eaves.console.__file__).with_name("static") / "console.js"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.9, "just now"), (5, "5 seconds ago"), (719, "11 minutes ago"), (86_400 * 1_200, "1,200 days ago")],
)  # fmt: skip
def test_an_age_has_its_largest_unit(seconds: float, text: str) -> None:
    assert words.describe_age(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100%"), (0.9999, "99.9%"), (0.914, "91%"), (0.00001, "0.1%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_certainty(share: float, text: str) -> None:
    assert words.describe_share(share) == text


def test_a_time_out_of_range_is_no_error() -> None:
    assert words.format_utc(1e20) == ""
    assert words.format_time(1e20, 0.0) == "at an unknown time"


def test_the_script_counts_with_the_same_units() -> None:
    text = SCRIPT.read_text()
    (table,) = re.findall(r"UNITS = (\[.+?\]);", text)
    assert table == str([[size, unit] for size, unit in words.UNITS]).replace("'", '"')
    assert f'seconds < {words.NOW_S} ? "just now"' in text


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("http://cam/snap.jpg answers with status 404", "http://cam/snap.jpg answers with status 404."),
        ("can't connect to the broker b:1883", "Can't connect to the broker b:1883"),
        ("folder /images/in can't be opened: No such file", "Folder /images/in can't be opened: No such file."),
        ("", ""),
    ],
)
def test_a_reason_becomes_a_sentence(reason: str, sentence: str) -> None:
    assert words.to_sentence(reason) == sentence
