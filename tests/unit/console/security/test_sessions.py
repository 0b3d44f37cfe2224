"""The signed cookie of a session, and when it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eaves.console.security.sessions import begin_session, left_s, parse_session, renew, sign_session

KEY = b"k" * 32
NOW = 1_700_000_000.0
LIMITS = {"session_s": 43_200.0, "idle_s": 7_200.0}


def test_a_session_survives_its_cookie() -> None:
    session = begin_session(NOW)
    assert parse_session(sign_session(session, KEY), KEY) == session


def test_two_logins_have_different_ids() -> None:
    assert begin_session(NOW).id != begin_session(NOW).id


@pytest.mark.parametrize("text", ["", "x", "a.1.2", "a.1.2.sig", "\udce4", "é.1.2.x", "..." * 10_000])
def test_a_cookie_that_the_key_has_not_signed_is_no_session(text: str) -> None:
    assert parse_session(text, KEY) is None


def test_a_changed_cookie_is_no_session() -> None:
    session = begin_session(NOW)
    text = sign_session(session, KEY)
    assert parse_session(text.replace(str(session.since), str(session.since + 9)), KEY) is None
    assert parse_session(text, b"o" * 32) is None


def test_a_session_ends_after_idle_hours_and_after_a_shift() -> None:
    session = begin_session(NOW)
    assert left_s(session, NOW, **LIMITS) == 7_200
    assert left_s(session, NOW + 7_199, **LIMITS) == 1
    assert left_s(session, NOW + 7_200, **LIMITS) == 0
    used = replace(session, seen_at=int(NOW) + 43_000)
    assert left_s(used, NOW + 43_000, **LIMITS) == 200
    assert left_s(used, NOW + 43_201, **LIMITS) == 0


def test_a_session_of_a_wrong_clocks_future_has_ended() -> None:
    session = begin_session(NOW + 86_400 * 365)
    assert left_s(session, NOW, **LIMITS) == 0
    assert left_s(begin_session(NOW + 30), NOW, **LIMITS) > 0


def test_a_session_in_use_is_renewed_at_most_once_a_minute() -> None:
    session = begin_session(NOW)
    assert renew(session, NOW + 59, idle_s=7_200) is None
    renewed = renew(session, NOW + 60, idle_s=7_200)
    assert renewed == replace(session, seen_at=int(NOW) + 60)
    assert renew(session, NOW + 1, idle_s=10) is not None
