"""Times and pauses between attempts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.base.backoff import Backoff
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
def test_a_timestamp_is_read(text: str, moment: datetime):
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
def test_anything_else_is_refused(text: str):
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_timestamp(text)


@given(
    failures=st.integers(1, 10**6),
    jitter=st.floats(0, 1, exclude_max=True),
    asked_s=st.none() | st.floats(0, 1e9),
    backoff_s=st.floats(0, 60),
    cap_s=st.floats(0, 3600),
)
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_the_limits(
    failures: int, jitter: float, asked_s: float | None, backoff_s: float, cap_s: float
):
    pause_s = Backoff(first_s=backoff_s, cap_s=cap_s).pause_s(failures, jitter=jitter, retry_after_s=asked_s)
    assert min(asked_s or 0.0, 3600.0) <= pause_s <= max(cap_s, 3600.0)


def test_retries_end_after_the_number_given_or_never():
    assert [Backoff(retry=2).exhausted(failures) for failures in (1, 2, 3)] == [False, False, True]
    assert Backoff(retry=0).exhausted(1)
    assert not Backoff(retry=None).exhausted(10**6)
