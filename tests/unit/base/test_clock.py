"""RFC 3339 timestamps, by its grammar: ISO 8601 has more forms, and Python's own parser takes most of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from eaves.base.clock import parse_timestamp

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T12:00:00Z", NOON),
        ("2026-11-24t12:00:00z", NOON),
        ("2026-11-24T12:00:00.5Z", NOON + timedelta(seconds=0.5)),
        ("2026-11-24T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-11-24T13:30:00+01:30", NOON),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_read(text: str, moment: datetime) -> None:
    assert parse_timestamp(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2024-W01-1T12:00:00Z",
        "20261124T120000Z",
        "2026-11-24T12:00:00",
        "2026-11-24T12:00:00,5Z",
        "2026-11-24T12:00:00+24:00",
        "2026-11-24T12:00:00Z\n",
        "2026-11-24T12:00:00٠Z",
        "2026-02-29T12:00:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T23:59:60Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_timestamp(text)
