"""When a receiver is up, down or refuses this sender, and when the next attempt is made."""

from eaves.base.backoff import Backoff
from eaves.delivery.sink_state import SinkState, SinkStatus
from tests.fakes.clock import ManualClock

PAUSES = Backoff(retry=None, first_s=0.5, cap_s=4.0)


def build(*, has_probe: bool = True) -> tuple[SinkState, ManualClock]:
    clock = ManualClock()
    return SinkState("archive", PAUSES, clock, lambda: 0.0, has_probe=has_probe), clock


def test_a_receiver_with_a_probe_is_probed_before_anything_is_sent_and_after_each_failure():
    state, _ = build()
    assert (state.state, state.unproven) == (SinkStatus.STARTING, True)
    state.probed(idle=False)
    assert (state.state, state.unproven) == (SinkStatus.UP, False)
    state.failed("no answer", lenient=True)
    assert (state.state, state.unproven, state.left_s()) == (SinkStatus.UP, True, 0)


def test_two_requests_in_a_row_that_fail_make_it_down_although_probes_get_through_until_nothing_waits():
    state, clock = build()
    for expected in (SinkStatus.UP, SinkStatus.DOWN):
        state.probed(idle=False)
        state.failed("no answer", lenient=True)
        assert state.state is expected
        clock.turn(state.left_s())
    found = []
    for idle in (False, True):
        state.probed(idle=idle)
        found.append(state.state)
    assert found == [SinkStatus.DOWN, SinkStatus.UP]


def test_a_receiver_may_ask_for_a_minute_at_most():
    state, _ = build()
    state.failed("busy", 503, asked_s=5.0)
    assert state.left_s() == 5
    state.failed("busy", 503, asked_s=86_400.0)
    assert state.left_s() == 60
    state.cut_short()
    assert state.left_s() == 0


def test_events_that_a_receiver_puts_off_make_pauses_that_grow_to_the_time_it_asks_for():
    state, clock = build(has_probe=False)
    pauses: list[float] = []
    for _ in range(12):
        state.failed("no room", 429, asked_s=5.0, lenient=True, busy=True)
        pauses.append(state.left_s())
        clock.turn(state.left_s())
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0, 5)
    assert 0 < sum(pauses[:4]) < 0.5
