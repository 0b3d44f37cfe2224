"""Discovery messages for Home Assistant are valid by its documentation, stable, and sent only when needed."""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_INSPECTED, Event
from eaves.plugins.mqtt.home_assistant import HomeAssistant, build_state, slugify
from eaves.plugins.mqtt.message import Publication
from tests.fakes.clock import ManualClock
from tests.inputs.home_assistant import DISCOVERY_TOPIC, SENSOR


def prediction(camera: str = "gate", *, second: int = 0, score: float = 0.97, **values: Any) -> Event:
    values = {"type": IMAGE_CLASSIFIED, "source": "/eaves/home/flowers", **values}
    return Event(
        id=f"{camera}-{second}",
        subject=f"{camera}/1.jpg",
        time=f"2026-11-25T12:{second // 60:02}:{second % 60:02}Z",
        datacontenttype="application/json",
        data=json.dumps({"predictions": [{"label": "rose", "score": score}]}).encode(),
        extensions={"partitionkey": camera, "label": "rose", "confidence": "high", "model": "m", "modelversion": "7"},
        **values,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def home(clock: ManualClock) -> HomeAssistant:
    return HomeAssistant(site="home", app="flowers", prefix="homeassistant", clock=clock)


def by_topic(messages: list[Publication]) -> dict[str, Any]:
    return {message.topic: json.loads(message.payload) for message in messages}


@given(st.text(min_size=1))
def test_discovery_of_any_camera_is_valid_by_home_assistants_documentation(camera: str):
    home = HomeAssistant(site="home", app="flowers", prefix="homeassistant")
    camera = camera.encode(errors="replace").decode()

    messages = home.update(prediction(camera))

    discovery = [message for message in messages if message.topic.startswith("homeassistant/")]
    assert len(discovery) == 2
    for message in discovery:
        assert DISCOVERY_TOPIC.fullmatch(message.topic)
        assert message.retain
        config = json.loads(message.payload)
        jsonschema.Draft202012Validator(SENSOR).validate(config)
        assert message.topic == f"homeassistant/sensor/{config['unique_id']}/config"


def test_a_camera_is_a_device_with_its_label_and_confidence(home: HomeAssistant):
    messages = by_topic(home.update(prediction()))

    assert list(messages) == [
        "homeassistant/sensor/eaves_home_flowers_gate_label/config",
        "homeassistant/sensor/eaves_home_flowers_gate_confidence/config",
        "eaves/home/flowers/gate/state",
    ]
    label, confidence, state = messages.values()
    assert label["state_topic"] == confidence["state_topic"] == "eaves/home/flowers/gate/state"
    assert label["device"] == confidence["device"]
    assert label["device"]["identifiers"] == ["eaves_home_flowers_gate"]
    assert label["device"]["name"] == "flowers gate"
    assert label["availability"] == [{"topic": "eaves/home/flowers/availability"}]
    assert confidence["unit_of_measurement"] == "%"
    assert (state["label"], state["confidence"], state["certainty"]) == ("rose", 97.0, "high")


def test_sensors_are_described_again_only_when_the_description_changes(home: HomeAssistant):
    home.update(prediction())

    assert len(home.update(prediction(second=1))) == 1
    assert len(home.update(prediction("hall", second=2))) == 3
    newer = prediction(second=3).with_extensions(modelversion="8")
    assert len(home.update(newer)) == 3


def test_a_camera_whose_messages_did_not_arrive_is_described_again(home: HomeAssistant):
    home.update(prediction())
    home.forget(prediction())

    assert len(home.update(prediction(second=1))) == 3


@pytest.mark.parametrize(
    "event",
    [
        prediction(type=IMAGE_CAPTURED),
        prediction(type=IMAGE_EMBEDDED),
        prediction(source="/eaves/home/another"),
    ],
)
def test_what_is_no_prediction_of_the_app_is_not_shown(home: HomeAssistant, event: Event):
    assert not home.update(event)


@pytest.mark.parametrize(
    ("data", "extensions", "label", "confidence"),
    [
        (b'{"predictions": []}', {"confidence": "low"}, None, None),
        (b'{"predictions": [{"label": "rose", "score": 0.123456}]}', {}, "rose", 12.3),
        (b'{"outputs": {}}', {"label": "ok"}, "ok", None),
        (b"no json", {}, None, None),
        (b"[1]", {"label": "x" * 300}, "x" * 255, None),
        (b'{"predictions": [{"score": true}]}', {}, None, None),
        (b'{"predictions": [{"label": "rose", "score": 1e999}]}', {}, "rose", None),
    ],
)
def test_a_state_is_unknown_where_the_prediction_says_nothing(
    data: bytes, extensions: dict[str, str], label: str | None, confidence: float | None
):
    event = Event(id="1", source="/s", type=IMAGE_CLASSIFIED, data=data, extensions=extensions)

    state = build_state(event)

    assert (state["label"], state["confidence"]) == (label, confidence)


def test_an_inspection_has_a_score_without_limit_in_place_of_a_confidence(home: HomeAssistant):
    data = json.dumps({"label": "anomalous", "score": 41.5, "p_value": 0.01}).encode()
    event = replace(prediction(type=IMAGE_INSPECTED), data=data).with_extensions(label="anomalous")

    _, score, state = by_topic(home.update(event)).values()

    jsonschema.Draft202012Validator(SENSOR).validate(score)
    assert (score["name"], score["value_template"]) == ("Score", "{{ value_json.score }}")
    assert "unit_of_measurement" not in score
    assert (state["label"], state["score"], state["p_value"], state["confidence"]) == ("anomalous", 41.5, 0.01, None)
    endless = build_state(replace(event, data=b'{"score": 1e999, "p_value": true}'))
    assert (endless["score"], endless["p_value"]) == (None, None)
    assert "score" not in build_state(prediction())


@given(st.lists(st.text(), unique=True, max_size=20))
def test_different_cameras_have_different_names(cameras: list[str]):
    assert len({slugify(camera) for camera in cameras}) == len(cameras)
