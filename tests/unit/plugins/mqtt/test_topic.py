"""Topics: what MQTT forbids is replaced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.plugins.mqtt.encoding import MAX_BYTES, build_topic, find_topic_fault


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
    ],
)
def test_attributes_are_filled_in(template: str, attributes: dict[str, str], expected: str) -> None:
    assert build_topic(template, prediction(**attributes)) == expected


@pytest.mark.parametrize(
    ("template", "attributes", "expected"),
    [
        ("plant/{label}", {"label": "a/b"}, "plant/a_b"),
        ("plant/{label}", {"label": "+"}, "plant/_"),
        ("plant/{label}", {"label": "a\0b"}, "plant/a_b"),
        ("{label}/x", {"label": "$SYS"}, "_SYS/x"),
        ("plant/{label}", {"label": "ü" * 1000}, "plant/" + "ü" * (MAX_BYTES // 2)),
    ],
)
def test_what_mqtt_forbids_is_replaced(template: str, attributes: dict[str, str], expected: str) -> None:
    assert build_topic(template, prediction(**attributes)) == expected


def test_a_path_of_many_levels_is_shortened_to_what_brokers_take() -> None:
    assert build_topic("x/{subject}", prediction(subject="/".join("abcdefghij" * 30))).count("/") == 20


@pytest.mark.parametrize(
    "template",
    ["", "a/#", "+/a", "a\0b", "$SYS/a", "{", "{Label}", "{a}" * 9, "x" * 2000],
)
def test_a_template_that_can_never_be_a_topic_has_a_fault(template: str) -> None:
    assert find_topic_fault(template)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3000), st.text(max_size=3000))
def test_any_attributes_make_a_topic_that_mqtt_allows(label: str, subject: str) -> None:
    event = prediction(label=label, subject=subject.encode(errors="replace").decode())

    name = build_topic("{label}/{subject}/{none}", event)

    assert 0 < len(name.encode()) <= 65_535
    assert not name.startswith("$")
    assert not set(name) & set("+#\0")
    assert name.count("/") <= 21
