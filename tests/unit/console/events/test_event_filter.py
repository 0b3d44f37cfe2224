"""The filter of the events page."""

from __future__ import annotations

from datetime import datetime

import pytest

from eaves.console.pages.event_row import ANSWERED
from eaves.console.pages.events import build_record_filter, parse_filter


def test_a_filter_survives_its_address() -> None:
    wanted = parse_filter({"label": "rose & co", "confidence": "low", "kind": "", "before": "3"})
    assert wanted == {"label": "rose & co", "confidence": "low"}
    assert not parse_filter({})


def test_fields_that_are_not_valid_are_left_out() -> None:
    wanted = parse_filter(
        {"kind": "x", "confidence": "'", "since": "yesterday", "until": "9999-99-99", "text": "a" * 999}
    )
    assert wanted == {"text": "a" * 200}


def test_times_are_of_this_machine_and_include_the_last_minute() -> None:
    records = build_record_filter(parse_filter({"since": "2026-11-26T14:00", "until": "2026-11-26T14:02"}))
    assert records.since == datetime(2026, 11, 26, 14, 0).timestamp()  # noqa: DTZ001 - this machine's time zone
    assert records.until is not None
    assert records.until - records.since == pytest.approx(2 * 60 + 59.999, abs=0.01)
    assert records.types == ANSWERED
