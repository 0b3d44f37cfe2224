"""What waits when a site's name changes is forwarded in order, many at a time, once the site has its old name again."""

from __future__ import annotations

from pathlib import Path

from eaves.events import Event
from eaves.relay.foreign_entries import PAUSE, prefix_of
from eaves.relay.relay_lanes import ARCHIVE
from eaves.spool import Selection
from eaves.spool.admin import drop, list_entries, retry_now
from tests.unit.relay.harness import Answer, Rig, event, forwarding, refusing
from tests.unit.relay.test_bad_events import QuickClock
from tests.waiting import wait_until

COUNT = 2_500
OLD = [event(number, source=f"/eaves/old/camera-{number % 3}") for number in range(COUNT)]
IN_ORDER = [one.id for one in OLD]


def refuse_old(events: list[Event]) -> Answer:
    """What a receiver answers that knows the site by another name."""
    return refusing({one.id for one in events if one.source.startswith("/eaves/old/")}, 403)(events)


def wait_until_held(rig: Rig, count: int) -> None:
    def held() -> int:
        stored = list_entries(rig.spool, Selection(), limit=2 * COUNT)
        return sum(one.not_before > 0 and not one.attempts for one in stored)

    wait_until(lambda: held() == count, 20, what="the refusal")


def test_a_name_that_is_taken_back_lets_everything_go_in_order_and_many_at_a_time(tmp_path: Path) -> None:
    with forwarding(tmp_path, *OLD) as rig:
        rig.link.answers = refuse_old
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "refused")
        rig.put(event(5_000))  # of the new name
        wait_until(lambda: rig.link.stored == ["id-5000"])
        wait_until_held(rig, COUNT)
        asked = len(rig.link.requests)
        assert asked <= 4
        late = [event(COUNT + number, source="/eaves/old/camera-1") for number in range(5)]
        rig.put(*late)
        wait_until_held(rig, COUNT + 5)
        assert len(rig.link.requests) == asked, "what is of the old name waits behind the others"
        rig.link.answers = lambda events: None
        rig.forwarder.try_now()
        rig.wait_until_empty()
        assert rig.link.stored[1:] == [*IN_ORDER, *(one.id for one in late)]
        assert len(rig.link.requests) - asked < 20
        assert rig.dead() == {}


def test_what_is_held_at_a_kill_is_tried_at_the_next_start_and_goes_in_order(tmp_path: Path) -> None:
    with forwarding(tmp_path, *OLD) as rig:
        rig.link.answers = refuse_old
        rig.forwarder.start()
        rig.put(event(5_000))
        wait_until(lambda: "id-5000" in rig.link.stored)
        wait_until_held(rig, COUNT)
    # Killed while it let them go: the first ones are free, and something new has come in.
    with forwarding(tmp_path, event(COUNT, source="/eaves/old/camera-0")) as rig:
        first = [one.seq for one in list_entries(rig.spool, Selection(), limit=700)]
        assert retry_now(rig.spool, Selection(seqs=tuple(first))) == 700
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == [*IN_ORDER, f"id-{COUNT}"]
        assert len(rig.link.requests) < 20


def test_one_entry_is_tried_now_and_then_and_the_others_cost_nothing(tmp_path: Path) -> None:
    clock = QuickClock()
    with forwarding(tmp_path, *OLD, clock=clock, probe_s=0) as rig:
        rig.link.answers = refuse_old
        rig.forwarder.start()
        wait_until(lambda: clock.elapsed_s > 10_000, 30)
        alone = [ids for ids in rig.link.requests if len(ids) == 1]
        assert {ids[0] for ids in alone} == {"id-0"}
        assert 10 <= len(alone) <= 10_000 / (PAUSE.cap_s / 2) + 10
        assert sum(len(ids) for ids in rig.link.requests) < COUNT + len(alone) + 10


def test_a_second_site_is_let_go_though_the_first_one_is_still_refused(tmp_path: Path) -> None:
    other = [event(number, source="/eaves/other/gate") for number in range(3_000, 3_003)]
    with forwarding(tmp_path, *OLD[:5], *other) as rig:
        rig.link.answers = lambda events: refusing({one.id for one in events}, 403)(events)
        rig.forwarder.start()
        wait_until_held(rig, 8)
        rig.link.answers = refuse_old
        rig.forwarder.try_now()
        wait_until(lambda: rig.link.stored == [one.id for one in other], what="the other site's")
        wait_until(lambda: rig.queued() == 5)


def test_an_operator_can_delete_what_is_held(tmp_path: Path) -> None:
    with forwarding(tmp_path, *OLD[:5], probe_s=0.2) as rig:
        rig.link.answers = refuse_old
        rig.forwarder.start()
        wait_until_held(rig, 5)
        assert drop(rig.spool, Selection(lane=ARCHIVE)) == 5
        rig.forwarder.try_now()
        wait_until(lambda: rig.state() == "up", what="a link that is up")


def test_a_source_of_no_site_stands_for_itself() -> None:
    assert prefix_of("/eaves/north/gate/2") == "/eaves/north/"
    assert [prefix_of(source) for source in ("urn:x", "/eaves/north", "/other/north/gate")] == [
        "urn:x",
        "/eaves/north",
        "/other/north/gate",
    ]
