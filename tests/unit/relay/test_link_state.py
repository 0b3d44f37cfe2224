"""When a link is up, down or refused, and when it is tried next."""

from __future__ import annotations

from eaves.relay.link_state import LinkState, LinkStatus
from tests.fakes.clock import ManualClock


def build() -> tuple[LinkState, ManualClock]:
    clock = ManualClock()
    return LinkState("https://cloud", clock, lambda: 0.0), clock


def test_a_link_is_probed_before_anything_is_sent() -> None:
    state, _ = build()
    assert (state.state, state.unproven) == (LinkStatus.STARTING, True)
    state.probed(idle=False)
    assert (state.state, state.unproven) == (LinkStatus.UP, False)
    state.send_failed("no answer")
    assert state.unproven


def test_pauses_grow_to_four_seconds_and_end_at_once_when_something_gets_through() -> None:
    state, clock = build()
    pauses = []
    for _ in range(6):
        state.probe_failed("no answer")
        pauses.append(state.left_s())
        clock.turn(pauses[-1])
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]  # half of each is left to chance
    state.probe_failed("no answer")
    state.probed(idle=True)
    assert state.left_s() == 0


def test_the_moment_it_went_down_stays_while_reasons_change() -> None:
    state, clock = build()
    state.probed(idle=True)
    clock.turn(100)
    state.probe_failed("no answer")
    since = state.since
    clock.turn(50)
    clock.set_back(1_000)
    state.probe_failed("no address")
    assert (state.since, state.since_age_s(), state.reason) == (since, 50, "no address")
    state.probe_failed("answered 401", 401, refused=True)
    assert (state.state, state.since_age_s(), state.status) == (LinkStatus.REFUSED, 0, 401)


def test_two_requests_in_a_row_without_an_answer_make_it_down_although_probes_get_through() -> None:
    state, _ = build()
    state.probed(idle=False)
    state.send_failed("no answer")
    assert (state.state, state.left_s()) == (LinkStatus.UP, 0)
    state.probed(idle=False)
    state.send_failed("no answer")
    state.probed(idle=False)
    assert state.state.value == "down"
    state.sent()
    assert state.state.value == "up"


def test_a_link_over_which_nothing_is_left_to_send_is_up_when_a_probe_gets_through() -> None:
    state, _ = build()
    state.send_failed("no answer")
    state.send_failed("no answer")
    state.probed(idle=True)
    assert state.state is LinkStatus.UP


def test_refusals_of_what_is_sent_are_not_about_the_link_until_nothing_gets_through() -> None:
    state, clock = build()
    state.probed(idle=False)
    for _ in range(3):
        state.event_failed("answered 500", 500)
        clock.turn(state.left_s())
        state.probed(idle=False)
    assert state.state is LinkStatus.UP
    state.event_failed("answered 500", 500)
    assert (state.state, state.reason) == (LinkStatus.DOWN, "answered 500")


def test_a_receiver_may_ask_for_a_minute_at_most() -> None:
    state, _ = build()
    state.send_failed("busy", 503, asked_s=5.0)
    assert state.left_s() == 5
    state.send_failed("busy", 503, asked_s=86_400.0)
    assert state.left_s() == 60
    state.cut_short()
    assert state.left_s() == 0
