"""Events as MQTT messages: topics, encodings, the newest of each key, and what a broker's answers mean."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.delivery.response_rules import Blame, DeliveryAction, choose_action, find_blame
from eaves.errors import EventError
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.plugins.mqtt.encoding import (
    LATE_S,
    MAX_BYTES,
    NewestEvents,
    build_cloudevent,
    build_json,
    build_topic,
    find_topic_fault,
)
from eaves.plugins.mqtt.message import Acknowledgement, find_filter_fault
from eaves.plugins.mqtt.sink import build_answer
from eaves.plugins.mqtt.source import matches
from tests.fakes.clock import ManualClock

PREDICTION = Event(
    id="a1",
    source="/eaves/home/flowers",
    type=IMAGE_CLASSIFIED,
    subject="gate/1.jpg",
    time="2026-11-25T12:00:00Z",
    datacontenttype="application/json",
    data=b'{"predictions": [{"label": "rose", "score": 0.97}], "model": "flowers", "id": "kept"}',
    extensions={"label": "rose", "confidence": "high", "partitionkey": "gate"},
)


@pytest.mark.parametrize("text", ["\ud800", "x" * 70_000])
def test_text_that_mqtt_cannot_carry_is_the_events_fault(text: str):
    with pytest.raises(EventError, match="attribute label of event 'a1'"):
        build_cloudevent(PREDICTION.with_extensions(label=text), "t", version5=True, retain=False)


def test_numbers_that_json_cannot_hold_make_no_message():
    event = replace(PREDICTION, data=b'{"predictions": [{"label": "rose", "score": 1e999}]}')
    with pytest.raises(EventError, match="a1"):
        build_json(event, "t", version5=True, retain=False)


def prediction(**attributes: str) -> Event:
    subject = attributes.pop("subject", None)
    return Event(id="1", source="/eaves/home/gate", type=IMAGE_CLASSIFIED, subject=subject, extensions=attributes)


@pytest.mark.parametrize(
    ("template", "attributes", "expected"),
    [
        ("plant/{label}", {"label": "rose"}, "plant/rose"),
        ("plant/{partitionkey}/{label}", {"label": "rose", "partitionkey": "gate"}, "plant/gate/rose"),
        ("plant/{label}", {}, "plant/unknown"),
        ("plant/{label}", {"label": ""}, "plant/unknown"),
        ("{subject}", {"subject": "hall/north/1.jpg"}, "hall/north/1.jpg"),
        ("x/{subject}", {"subject": "//hall///1.jpg/"}, "x/hall/1.jpg"),
        ("x/{source}", {}, "x/eaves/home/gate"),
        ("ü/{label}", {"label": "Rosé 🌹"}, "ü/Rosé 🌹"),
        ("plant/{label}", {"label": "a/b"}, "plant/a_b"),
        ("plant/{label}", {"label": "+"}, "plant/_"),
        ("plant/{label}", {"label": "a\0b"}, "plant/a_b"),
        ("{label}/x", {"label": "$SYS"}, "_SYS/x"),
        ("plant/{label}", {"label": "ü" * 1000}, "plant/" + "ü" * (MAX_BYTES // 2)),
    ],
)
def test_attributes_are_filled_in_and_what_mqtt_forbids_is_replaced(
    template: str, attributes: dict[str, str], expected: str
):
    assert build_topic(template, prediction(**attributes)) == expected


@pytest.mark.parametrize(
    "template",
    ["", "a/#", "+/a", "a\0b", "$SYS/a", "{", "{Label}", "{a}" * 9, "x" * 2000],
)
def test_a_template_that_can_never_be_a_topic_has_a_fault(template: str):
    assert find_topic_fault(template)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3000), st.text(max_size=3000))
def test_any_attributes_make_a_topic_that_mqtt_allows(label: str, subject: str):
    event = prediction(label=label, subject=subject.encode(errors="replace").decode())

    name = build_topic("{label}/{subject}/{none}", event)

    assert 0 < len(name.encode()) <= 65_535
    assert not name.startswith("$")
    assert not set(name) & set("+#\0")
    assert name.count("/") <= 21


@pytest.mark.parametrize("text", ["a", "/", "+", "#", "a/+/b/#", "+/+", "$share/g/a/#", "a b/ä"])
def test_good_filters(text: str):
    assert find_filter_fault(text) == ""


@pytest.mark.parametrize("text", ["", "a\0", "a#", "#/a", "a+", "$share/a", "$share//a", "$share/+/a", "x" * 65_536])
def test_bad_filters(text: str):
    assert "must" in find_filter_fault(text)


def test_which_topics_match():
    assert matches(["x", "$share/group/cameras/+/image"], "cameras/3/image")
    assert not matches(["x", "cameras/+/image"], "cameras/3/4/image")
    assert not matches(["#"], "$SYS/broker")


def at(second: int, time: str | None = "") -> Event:
    return Event(id="1", source="/s", type="t", time=f"2026-11-25T12:00:{second:02}Z" if time == "" else time)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def latest(clock: ManualClock) -> NewestEvents:
    return NewestEvents(clock)


def test_an_older_event_is_not_taken(latest: NewestEvents):
    assert latest.accept("a", at(5))
    assert not latest.accept("a", at(4))
    assert latest.accept("a", at(5))
    assert latest.accept("a", at(6))
    assert latest.accept("b", at(1))


def test_an_older_event_is_taken_once_the_newer_one_is_long_ago(latest: NewestEvents, clock: ManualClock):
    assert latest.accept("a", at(5))
    clock.turn(LATE_S + 1)
    assert latest.accept("a", at(4))
    assert not latest.accept("a", at(3))


@pytest.mark.parametrize("time", [None, "yesterday"])
def test_an_event_without_a_usable_time_is_taken(latest: NewestEvents, time: str | None):
    assert latest.accept("a", at(5))
    assert latest.accept("a", at(0, time))


@pytest.mark.parametrize(
    ("code", "expected", "fault"),
    [
        (0x00, DeliveryAction.DONE, None),
        (0x10, DeliveryAction.DONE, None),  # no matching subscribers
        (0x80, DeliveryAction.RETRY, Blame.UNKNOWN),
        (0x87, DeliveryAction.REFUSED, Blame.WAY),  # not authorised
        (0x90, DeliveryAction.REFUSED, Blame.EVENT),  # topic name invalid
        (0x95, DeliveryAction.REFUSED, Blame.EVENT),  # packet too large
        (0x97, DeliveryAction.RETRY, Blame.LATER),  # quota exceeded
        (0x99, DeliveryAction.REFUSED, Blame.EVENT),  # payload format invalid
    ],
)
def test_each_reason_code_has_its_verdict(code: int, expected: DeliveryAction, fault: Blame | None):
    answer = build_answer(Acknowledgement(code=code, name="named"), broker="hub:1883", topic="plant/{label}")

    assert choose_action(answer.status) is expected
    if fault is not None:
        assert find_blame(answer.status, answer.body, is_receivers=answer.is_receivers) is fault
        assert f"0x{code:02x}" in answer.body.decode()
