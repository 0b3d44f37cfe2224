"""How long every part waits before its next attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eaves.base.backoff import Backoff


@given(
    failures=st.integers(1, 10**6),
    jitter=st.floats(0, 1, exclude_max=True),
    asked_s=st.none() | st.floats(0, 1e9),
    backoff_s=st.floats(0, 60),
    cap_s=st.floats(0, 3600),
)
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_the_limits(
    failures: int, jitter: float, asked_s: float | None, backoff_s: float, cap_s: float
) -> None:
    pause_s = Backoff(first_s=backoff_s, cap_s=cap_s).pause_s(failures, jitter=jitter, retry_after_s=asked_s)
    assert min(asked_s or 0.0, 3600.0) <= pause_s <= max(cap_s, 3600.0)


def test_retries_end_after_the_number_given_or_never() -> None:
    assert [Backoff(retry=2).exhausted(failures) for failures in (1, 2, 3)] == [False, False, True]
    assert Backoff(retry=0).exhausted(1)
    assert not Backoff(retry=None).exhausted(10**6)
