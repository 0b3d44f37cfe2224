"""`eaves init --from-source` while a camera shows nothing new."""

from eaves.cli.collection import PAUSE_S, LongPause
from tests.fakes.clock import ManualClock


def test_a_long_pause_is_noticed_once_until_an_image_comes():
    clock = ManualClock()
    pause = LongPause(clock)
    assert not pause.begins(0)
    clock.turn(PAUSE_S + 1)
    assert pause.begins(0)
    assert not pause.begins(0)
    assert not pause.begins(1)
    clock.turn(PAUSE_S)
    assert not pause.begins(1)
    clock.turn(1)
    assert pause.begins(1)
