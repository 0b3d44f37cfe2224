"""What a receiver refuses, or fails at, in the relay's forwarder: halved, kept apart, never given up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eaves.errors import ConfigError, UnreachableError
from eaves.events import Event
from eaves.relay.relay_lanes import ARCHIVE, IMAGES
from eaves.spool.admin import retry_now
from eaves.spool.selection import Selection
from tests.fakes.clock import FrozenClock
from tests.unit.relay.harness import Answer, event, forwarding, lost, poisoned, refusing, status_error
from tests.waiting import wait_until


@pytest.mark.parametrize("error", [lost(), UnreachableError("no route"), status_error(500), status_error(503)])
def test_nothing_is_given_up_on_while_the_receiver_fails(tmp_path: Path, error: Exception) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(20)]) as rig:
        rig.link.answers = lambda events: error
        rig.link.probed = lambda: error
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "down")
        rig.link.probed = lambda: "north"
        rig.forwarder.try_now()
        wait_until(lambda: len(rig.link.requests) > 2)
        assert (rig.queued(), rig.dead()) == (20, {})
        rig.link.answers = lambda events: None
        rig.wait_until_empty(30)
        assert sorted(rig.link.stored) == sorted(f"id-{number}" for number in range(20))


@pytest.mark.parametrize("status", [400, 409, 413])
def test_what_the_receiver_refuses_is_kept_apart_with_its_reason(tmp_path: Path, status: int) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(5)]) as rig:
        rig.link.answers = refusing({"id-1", "id-3"}, status)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.link.stored == ["id-0", "id-2", "id-4"]
        reason = f"the receiver refuses the event ({status}): not yours"
        assert rig.dead() == {"id-1": reason, "id-3": reason}
        assert len(rig.link.requests) == 1
        wait_until(lambda: rig.forwarder.attempts(ARCHIVE).get("dead") == 2)


def test_what_waits_when_a_site_gets_another_name_is_kept_and_the_link_says_so(tmp_path: Path) -> None:
    old = [event(number, source="/eaves/old/flowers") for number in range(20)]
    with forwarding(tmp_path, *old) as rig:
        rig.link.answers = refusing({f"id-{number}" for number in range(20)}, 403)
        rig.forwarder.start()
        wait_until(lambda: rig.state() == "refused")
        assert "the waiting events belong to another site than the token: not yours" in rig.forwarder.view().reason
        rig.put(event(30))  # of the new name
        wait_until(lambda: rig.link.stored == ["id-30"])
        wait_until(lambda: rig.queued() == 20, what="the release of what got through")
        assert rig.dead() == {}
        rig.link.answers = lambda events: None
        assert retry_now(rig.spool, Selection()) == 20
        rig.forwarder.try_now()
        rig.wait_until_empty()
        assert sorted(rig.link.stored) == sorted(f"id-{number}" for number in (*range(20), 30))


def test_what_is_of_the_old_name_is_not_buried_among_what_is_of_the_new_one(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(5)]) as rig:
        rig.link.answers = refusing({"id-1", "id-3"}, 403)
        rig.forwarder.start()
        wait_until(lambda: rig.queued() == 2)
        assert rig.link.stored == ["id-0", "id-2", "id-4"]
        assert rig.dead() == {}


def test_a_request_that_is_too_large_is_halved_until_only_the_large_event_is_kept_apart(tmp_path: Path) -> None:
    events = [event(number) for number in range(64)]
    events[40] = event(40, data=json.dumps(os.urandom(60_000).hex()).encode())
    with forwarding(tmp_path, *events) as rig:
        rig.link.answers = poisoned({"id-40"}, lambda: status_error(413))
        rig.forwarder.start()
        rig.wait_until_empty()
        assert list(rig.dead()) == ["id-40"]
        assert rig.link.calls.count("probe") == 2  # at the start, and about the one event
        assert rig.link.stored == [f"id-{number}" for number in range(64) if number != 40]
        assert rig.state() == "up"


@pytest.mark.parametrize("status", [400, 403, 413, 422, 500])
def test_one_event_that_fails_every_request_lets_the_others_pass(tmp_path: Path, status: int) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(8)]) as rig:
        rig.link.answers = poisoned({"id-3"}, lambda: status_error(status))
        rig.forwarder.start()
        wait_until(lambda: rig.queued() == 1, 30, what="the others")
        assert rig.dead() == {}
        assert "id-3" not in rig.link.stored


def test_one_event_whose_requests_get_no_answer_lets_the_others_pass_and_is_never_given_up(tmp_path: Path) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(4)]) as rig:
        rig.link.answers = poisoned({"id-0"}, lost)
        rig.forwarder.start()
        wait_until(lambda: rig.queued() == 1, 30, what="the others")
        assert rig.dead() == {}
        rig.link.answers = lambda events: None
        rig.spool.clock._now += 3_600  # type: ignore[attr-defined]
        rig.wait_until_empty()
        assert rig.link.stored[-1] == "id-0"


def test_a_picture_that_is_refused_as_it_is_goes_as_a_batch_whose_answer_says_why(tmp_path: Path) -> None:
    picture = event(1, data=bytes(range(256)) * 100, datacontenttype="image/jpeg")
    with forwarding(tmp_path) as rig:
        rig.put(picture, lane=IMAGES)
        answers = iter([status_error(403), *[refusing({"id-1"})([picture])]])
        rig.link.answers = lambda events: next(answers)
        rig.forwarder.start()
        rig.wait_until_empty()
        assert rig.dead() == {"id-1": "the receiver refuses the event (409): not yours"}
        assert rig.link.calls == ["probe", "send", "send"]
        assert rig.state() == "up"


def test_a_proxy_that_refuses_everything_from_now_on_buries_nothing(tmp_path: Path) -> None:
    with forwarding(tmp_path, event(0)) as rig:
        rig.forwarder.start()
        rig.wait_until_empty()
        rig.link.answers = lambda events: status_error(413)
        rig.link.probed = lambda: status_error(413)
        rig.put(event(1, data=json.dumps(os.urandom(60_000).hex()).encode()))
        wait_until(lambda: rig.link.calls.count("probe") > 4)
        assert (rig.state(), rig.queued(), rig.dead()) == ("down", 1, {})
        rig.link.answers, rig.link.probed = lambda events: None, lambda: "north"
        rig.wait_until_empty()


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_is_busy_for_long_changes_neither_size_nor_order(tmp_path: Path, status: int) -> None:
    with forwarding(tmp_path, *[event(number) for number in range(30)]) as rig:
        rig.link.answers = lambda events: status_error(status) if len(rig.link.requests) < 9 else None
        rig.forwarder.start()
        rig.wait_until_empty()
        assert [len(ids) for ids in rig.link.requests] == [30] * 9
        assert rig.link.stored == [f"id-{number}" for number in range(30)]


@pytest.mark.parametrize("error", [ConfigError([]), UnreachableError("no route")])
def test_an_alarm_alone_on_a_link_that_fails_keeps_its_place(tmp_path: Path, error: Exception) -> None:
    with forwarding(tmp_path, event(1)) as rig:
        rig.link.answers = lambda events: error if len(rig.link.requests) < 3 else None
        rig.forwarder.start()
        rig.wait_until_empty()
        assert len(rig.link.requests) == 3
        wait_until(lambda: rig.forwarder.attempts(ARCHIVE) == {"delivered": 1})


def test_a_size_that_was_too_large_once_is_not_tried_again_and_again(tmp_path: Path) -> None:
    def answer(events: list[Event]) -> Answer:
        return status_error(413) if sum(len(one.data) for one in events) > 20_000 else None

    with forwarding(tmp_path, *[event(number, data=b"x" * 1_000) for number in range(300)]) as rig:
        rig.link.answers = answer
        rig.forwarder.start()
        rig.wait_until_empty()
        assert len(rig.link.stored) == 300
        assert sum(len(ids) > 20 for ids in rig.link.requests) <= 4


def test_what_failed_alone_before_is_sent_alone_again(tmp_path: Path) -> None:
    clock = FrozenClock()
    with forwarding(tmp_path, event(0), newest_first=True, clock=clock) as rig:
        rig.link.answers = poisoned({"id-0"}, lost)
        rig.forwarder.start()
        wait_until(lambda: rig.forwarder.attempts(ARCHIVE).get("retried"))
        rig.link.answers = lambda events: None
        rig.put(*[event(number) for number in range(10, 30)])  # a request holds several again
        wait_until(lambda: rig.queued() == 1)
        made = len(rig.link.requests)
        clock._now += 3_600
        rig.put(event(1), event(2))
        rig.wait_until_empty()
        assert rig.link.requests[made:] in ([["id-2", "id-1"], ["id-0"]], [["id-0"], ["id-2", "id-1"]])
