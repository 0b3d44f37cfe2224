"""What an event that comes in is stored as, and in which class."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import ConfigError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event
from eaves.federation_events import FEDERATION_SUMS, build_federation_event
from eaves.link.relay import FORMER_SITE, RelayIntake, set_apart_former_site
from eaves.link.settings import ALARMS, ARCHIVE, BROKER, FEDERATION, IMAGES, RelaySettings
from eaves.spool import LedgerLimits, Puts, Spool, SpoolLimits

ALARM_RULES = ({"label": "fire"}, {"label": "smoke", "confidence": "high"}, {"partitionkey": "gate"})
PROBLEM = {"type": "urn:eaves:problem:image", "title": "Unprocessable", "status": 422, "detail": "not an image"}


def event(number: int, **fields: Any) -> Event:
    known: dict[str, Any] = {"id": f"id-{number}", "source": "/eaves/north/flowers", "type": IMAGE_CLASSIFIED}
    return Event(**{**known, "datacontenttype": "application/json", "data": b"{}", **fields})


def intake(spool: Any = None, *, keep_images: bool = True, to_broker: bool = False) -> RelayIntake:
    images, alarms = "all" if keep_images else "none", json.dumps(ALARM_RULES)
    wanted = RelaySettings(to="https://cloud", site="north", alarms=alarms, images=images, has_broker=to_broker)
    return RelayIntake(wanted, spool)


def image(**fields: Any) -> Event:
    known = {"source": "/eaves/north/gate", "type": IMAGE_CAPTURED, "datacontenttype": "image/jpeg", "data": b"jpeg"}
    return event(7, subject="gate/7.jpg", **{**known, **fields})


def dead_letter(original: Event, answer: bytes = b"", **more: str) -> Event:
    return original.with_extensions(
        knativeerrordest="http://flowers.north.svc",
        knativeerrorcode="422",
        knativeerrordata=base64.b64encode(answer[:1_024]).decode(),
        knativearrivaltime="2026-11-25T12:00:00Z",
        **more,
    )


def lanes_of(puts: Puts) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.type, tuple(lanes)) for one, lanes in puts]


@pytest.mark.parametrize(
    ("extensions", "lane"),
    [
        ({"label": "fire"}, ALARMS),
        ({"partitionkey": "gate"}, ALARMS),
        ({"label": "smoke", "confidence": "high"}, ALARMS),
        ({"label": "smoke", "confidence": "low"}, ARCHIVE),
        ({}, ARCHIVE),
    ],
)
def test_an_alarm_is_what_a_rule_says(extensions: dict[str, str], lane: str):
    assert intake().sort(event(1, extensions=extensions)) == [(event(1, extensions=extensions), (lane,))]


def test_images_go_last_or_not_at_all():
    assert lanes_of(intake().sort(image())) == [(IMAGE_CAPTURED, (IMAGES,))]
    assert lanes_of(intake(to_broker=True).sort(image(extensions={"label": "fire"}))) == [(IMAGE_CAPTURED, (IMAGES,))]
    assert intake(keep_images=False).sort(image()) == []


def test_sums_of_images_have_a_lane_of_their_own_where_no_image_may_leave_and_are_not_for_the_broker():
    sums = build_federation_event("north", "flowers", FEDERATION_SUMS, 1, b"sums").with_extensions(partitionkey="gate")
    assert intake(keep_images=False, to_broker=True).sort(sums) == [(sums, (FEDERATION,))]


def test_the_sites_own_broker_gets_a_copy_of_what_is_no_image():
    puts = intake(to_broker=True).sort(event(1, extensions={"label": "fire"}))
    assert [lanes for _, lanes in puts] == [(ALARMS, BROKER)]


def test_a_dead_letter_becomes_an_event_that_says_why_and_its_image_goes_along():
    original = image(extensions={"partitionkey": "north", "label": "?"})
    (rejected, lanes), along = intake(to_broker=True).sort(dead_letter(original, json.dumps(PROBLEM).encode()))
    assert along == (original, (IMAGES,))
    assert lanes == (ARCHIVE, BROKER)
    assert (rejected.type, rejected.source) == (IMAGE_REJECTED, "/eaves/north/relay")
    assert rejected.subject == "gate/7.jpg"
    assert rejected.extensions == {"partitionkey": "north", "causeid": "id-7", "causesource": "/eaves/north/gate"}
    document = rejected.json()
    assert document["cause"].pop("size_bytes") == 4
    assert document == {
        **PROBLEM,
        "function": "http://flowers.north.svc",
        "cause": {
            "id": "id-7",
            "source": "/eaves/north/gate",
            "type": IMAGE_CAPTURED,
            "datacontenttype": "image/jpeg",
        },
    }


def test_the_event_about_an_image_in_a_bucket_says_where_it_is():
    url = "https://store.example/photos/7.jpg?token=hunter2"
    original = replace(image(extensions={"dataref": url}), data=b"")
    (rejected, _), along = intake().sort(dead_letter(original, json.dumps(PROBLEM).encode()))
    assert along[0] == original
    assert rejected.json()["cause"]["dataref"] == "https://store.example/photos/7.jpg?token=***"
    assert "dataref" not in rejected.extensions, "it would be the reference to the rejection's own data"


def test_a_dead_letter_that_is_no_image_goes_to_the_archive_beside_the_event_about_it():
    puts = intake(to_broker=True, keep_images=False).sort(dead_letter(event(1)))
    assert lanes_of(puts) == [(IMAGE_REJECTED, (ARCHIVE, BROKER)), (event(1).type, (ARCHIVE,))]


def test_what_is_of_another_site_stays_here_as_a_dead_letter_and_blocks_nothing(tmp_path: Path):
    foreign = event(8, source="/eaves/northern/gate", data=b"{}")
    events = [dead_letter(foreign), event(9), event(1, source="urn:x")]
    with Spool(tmp_path / "relay.db", ledger=LedgerLimits(max_entries=100)) as spool:
        for _ in range(2):
            intake(spool).store(events)
        queued = [one.event for one in spool.peek(ARCHIVE, limit=10, max_bytes=10_000)]
        assert [one.type for one in queued] == [IMAGE_REJECTED, IMAGE_CLASSIFIED]
        letters = {letter.entry.event.source: (letter.status, letter.reason) for letter in spool.dead()}
        reported = "the source of an event from site north must begin with /eaves/north/"
        assert letters == {"/eaves/northern/gate": (403, reported), "urn:x": (403, reported)}
        assert len(spool.dead()) == 2


def test_a_dead_letter_about_a_dead_letter_tells_of_no_other_one():
    rejected = intake().sort(dead_letter(image()))[0][0]
    assert intake(to_broker=True).sort(dead_letter(rejected)) == [(rejected, (ARCHIVE,))]


def test_what_has_the_sites_former_name_is_kept_apart_and_goes_in_order_once_the_name_is_back(tmp_path: Path):
    old = [event(number, source="/eaves/old/camera") for number in range(5)]
    with Spool(tmp_path / "relay.db") as spool:
        spool.put_many([(one, (ARCHIVE,)) for one in [*old, event(10)]])
        set_apart_former_site(spool, "north")
        assert [entry.event.id for entry in spool.peek(ARCHIVE, limit=9)] == ["id-10"]
        assert [letter.reason for letter in spool.dead()] == [FORMER_SITE] * 5
        set_apart_former_site(spool, "old")
        assert [entry.event for entry in spool.peek(ARCHIVE, limit=9)] == old
        assert [letter.entry.event.id for letter in spool.dead()] == ["id-10"]


def test_a_new_name_of_the_site_deletes_nothing(tmp_path: Path):
    old = [(event(number, source="/eaves/old/camera"), (ARCHIVE,)) for number in range(20)]
    limits = SpoolLimits(dead_max_bytes=1_000)
    with Spool(tmp_path / "relay.db", limits=limits) as spool:
        spool.put_many(old)
        with pytest.raises(ConfigError, match=r"20 events \(\d+ bytes\) of the site's former name"):
            set_apart_former_site(spool, "north")
        assert (spool.counts(), spool.expired()) == ({ARCHIVE: (20, 0)}, 0)
        set_apart_former_site(spool, "old")
        assert spool.counts() == {ARCHIVE: (20, 0)}
