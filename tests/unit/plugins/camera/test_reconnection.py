"""When a camera source connects again: a policy of times, run without a camera."""

import itertools
import random
from collections.abc import Iterator

import pytest

from eaves.plugins.camera.messages import EndCode
from eaves.plugins.camera.source import SHORT_CAP_S, STEADY_S, Reconnection

DAY_S = 86_400.0


def attempts(policy: Reconnection, until_s: float, took_s: float, *, code: EndCode = "unreachable") -> Iterator[float]:
    """Begin times of attempts that each fail after `took_s`, seconds after the camera went away."""
    began = 0.0
    chance = random.Random(22)
    while began < until_s:
        yield began
        began = policy.failed(code, began_s=began, now_s=began + took_s, jitter=chance.random())


def test_a_stream_that_was_steady_is_opened_again_within_half_a_second():
    policy = Reconnection()
    policy.received(0.0)
    policy.received(STEADY_S)
    assert 1000.5 <= policy.failed("silent", began_s=0.0, now_s=1000.0, jitter=0.999) <= 1000.6


@pytest.mark.parametrize("took_s", [0.0, 3.0, 5.0], ids=["refused", "no answer", "hangs"])
def test_attempts_are_close_in_the_first_two_minutes_and_a_minute_apart_after_an_hour(took_s: float):
    began = list(attempts(Reconnection(), DAY_S, took_s))
    pauses = [(at, after - at) for at, after in itertools.pairwise(began)]
    assert max(pause for at, pause in pauses if at <= 120) <= max(3.0, took_s + 0.5)
    assert max(pause for at, pause in pauses if at <= 600) <= max(3.0, 0.1 * 600 + took_s)
    assert min(pause for at, pause in pauses if at > 3600) >= 30
    assert max(pause for _, pause in pauses) <= 60.0
    assert len(began) < DAY_S / 30 + 500, "attempts are too close together"


def test_a_device_that_was_unplugged_for_long_is_found_within_three_seconds():
    began = list(attempts(Reconnection(), DAY_S, 0.0, code="missing"))
    assert max(after - at for at, after in itertools.pairwise(began)) <= SHORT_CAP_S


def test_a_refused_login_waits_five_minutes_and_a_missing_library_one():
    assert Reconnection().failed("refused_login", began_s=0, now_s=10, jitter=0.0) == 310
    assert Reconnection().failed("missing_library", began_s=0, now_s=10, jitter=0.0) == 70


def test_a_camera_that_ends_each_stream_after_one_frame_is_asked_every_few_seconds():
    policy, now, began = Reconnection(), 0.0, []
    while now < 3600:
        began.append(now)
        policy.received(now + 0.5)
        now = policy.failed("broken", began_s=now, now_s=now + 0.6, jitter=0.5)
    assert 3600 / 3.7 < len(began) < 3600 / 2.0
