"""The task `anomaly`: what becomes of the model's map."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jsonschema
import numpy as np
import pytest

from eaves.artifact import Artifact
from eaves.event_schemas import SCHEMAS
from eaves.events import IMAGE_INSPECTED, Event
from eaves.inference.handler import Handler
from eaves.inference.session import Session
from eaves.platform import FunctionSpec
from functions.pipeline import MAX_BOXES, Inspector, Prediction, find_boxes, open_predictor
from functions.service import build_reply
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.models.inspector import RULE, BrightSession, encode_spots, write_inspector

WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_inspector(tmp_path / "artifact")


def build(artifact: Artifact, handler: Handler | None = None, **settings: Any) -> Inspector:
    made = open_predictor(artifact, cast(Session, BrightSession()), ServeSettings(**settings), handler or Handler())
    assert isinstance(made, Inspector)
    return made


SPOT = encode_spots((16, 32, 32, 48, 160))


def test_a_bright_spot_is_anomalous_and_has_a_box(artifact: Artifact):
    found = build(artifact).predict(SPOT)
    boxes = found.payload["boxes"]
    assert found.attributes == {"label": "anomalous", "confidence": "high"}
    assert {name: found.payload[name] for name in ("label", "threshold")} == {"label": "anomalous", "threshold": 100.0}
    assert found.payload["p_value"] == pytest.approx(1 / 61, rel=1e-5)
    assert boxes == [[0.25, 0.5, 0.25, 0.25, found.payload["score"]]]
    assert found.payload["calibration"] == {"images": 60, "groups": 60}
    assert "map" not in found.payload
    rows = found.with_map().payload["map"]
    assert np.shape(rows) == (4, 4)
    assert np.max(rows) == rows[2][1] == float(f"{found.payload['score']:.3g}")


def test_another_output_that_is_called_map_is_no_map():
    plain = Prediction(payload={}, attributes={}, timings_ms={}, outputs={"map": np.zeros(3, np.float32)})
    assert plain.with_map().payload == {}


def test_an_app_announces_the_type_that_its_function_sends():
    assert FunctionSpec(name="parts", site="mill", task="anomaly").replied == IMAGE_INSPECTED


def test_the_reply_event_has_a_schema_of_its_own(artifact: Artifact):
    cause = Event(id="1", source="/s", type="t")
    predictor = build(artifact)
    reply = build_reply(cause, predictor.predict(SPOT).with_map(), predictor, FunctionSettings())
    assert reply.type == IMAGE_INSPECTED
    assert reply.extensions["label"] == "anomalous"
    jsonschema.validate(reply.json(), SCHEMAS[IMAGE_INSPECTED])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**reply.json(), "p_value": 2}, SCHEMAS[IMAGE_INSPECTED])


@pytest.mark.parametrize(
    ("brightness", "label", "confidence"),
    [
        (50, "normal", "high"),
        (79, "normal", "low"),  # p-value 1/61
        (96, "normal", "low"),
        (100, "normal", "low"),  # exactly the threshold
        (101, "anomalous", "low"),
        (105, "anomalous", "low"),  # within a tenth of 100 - 50
        (106, "anomalous", "high"),
        (255, "anomalous", "high"),
    ],
)
def test_what_is_near_the_threshold_or_rare_among_good_images_is_doubtful(
    artifact: Artifact, brightness: int, label: str, confidence: str
):
    found = build(artifact).predict(encode_spots(dark=brightness))
    assert found.attributes == {"label": label, "confidence": confidence}
    assert bool(found.payload["boxes"]) == (label == "anomalous")
    assert found.payload["margin"] == pytest.approx(max(0, 80 - brightness) / 61, abs=1.1 / 61)


def test_a_threshold_of_the_settings_changes_label_and_boxes_but_not_the_p_value(artifact: Artifact):
    data = encode_spots((0, 0, 32, 32, 60), (48, 48, 64, 64, 255))
    plain, low, high = (
        build(artifact, anomaly_threshold=threshold).predict(data).payload for threshold in (0.0, 40.0, 255.0)
    )
    assert [found["label"] for found in (plain, low, high)] == ["anomalous", "anomalous", "normal"]
    assert [len(found["boxes"]) for found in (plain, low, high)] == [1, 2, 0]
    assert [found["threshold"] for found in (plain, low, high)] == [100.0, 40.0, 255.0]
    assert plain["p_value"] == low["p_value"] == high["p_value"]
    assert build(artifact, anomaly_threshold=255.0).run(data)["label"] == "normal"


def test_the_protocol_lists_and_gives_the_map(artifact: Artifact):
    predictor = build(artifact)
    assert [spec.name for spec in predictor.outputs] == ["label", "probabilities", "logits", "map"]
    found = predictor.run(SPOT)
    assert set(found) == {"label", "probabilities", "logits", "map"}
    assert found["label"] == "anomalous"
    assert found["map"].shape == (4, 4)
    assert found["logits"].argmax() == 1


@pytest.mark.parametrize(
    ("resize", "size", "spot", "box"),
    [
        ("stretch", (128, 64), (64, 0, 96, 16), [0.5, 0, 0.25, 0.25]),
        # The model sees the square in the middle, x from 32 to 96.
        ("crop", (128, 64), (64, 0, 80, 16), [0.5, 0, 0.125, 0.25]),
        ("crop", (64, 128), (0, 32, 16, 48), [0, 0.25, 0.25, 0.125]),
        # The image fills rows 2 to 5 of the model's 8.
        ("pad", (128, 64), (0, 0, 32, 32), [0, 0, 0.25, 0.5]),
        ("pad", (64, 128), (32, 96, 64, 128), [0.5, 0.75, 0.5, 0.25]),
    ],
)
def test_boxes_are_places_in_the_sent_image(
    artifact: Artifact, resize: str, size: tuple[int, int], spot: tuple[int, int, int, int], box: list[float]
):
    recipe = replace(artifact.manifest.image_recipe, resize=cast(Any, resize))
    cropped = replace(artifact, manifest=replace(artifact.manifest, recipe=recipe))
    found = build(cropped, anomaly_threshold=150.0).predict(encode_spots((*spot, 255), size=size))
    (only,) = found.payload["boxes"]
    assert only[:4] == pytest.approx(box)


def test_what_is_unusual_in_the_grey_beside_a_padded_image_has_no_box(artifact: Artifact):
    recipe = replace(artifact.manifest.image_recipe, resize="pad")
    padded = replace(artifact, manifest=replace(artifact.manifest, recipe=recipe))
    found = build(padded).predict(encode_spots(size=(128, 64)))
    assert (found.payload["label"], found.payload["boxes"]) == ("anomalous", [])


def test_boxes_after_a_handler_are_places_in_what_the_model_has_seen(artifact: Artifact):
    handler = Handler(preprocess=artifact.manifest.image_recipe.tensor, postprocess=None)
    assert build(artifact, handler).predict(SPOT).payload["boxes"][0][:4] == [0.25, 0.5, 0.25, 0.25]


def test_regions_are_connected_at_corners_and_ordered_by_score():
    grid = np.zeros((6, 8), np.float32)
    grid[0, 0], grid[1, 1] = 2.0, 3.0  # one region, as corners touch
    grid[4:6, 6:8] = 5.0
    grid[3, 3] = 1.0  # not above the threshold
    assert find_boxes(grid, 1.0, WHOLE) == [
        [0.75, 0.6667, 0.25, 0.3333, 5.0],
        [0.0, 0.0, 0.25, 0.3333, 3.0],
    ]


def test_there_are_at_most_twenty_boxes_the_highest_first():
    grid = np.zeros((20, 20), np.float32)
    grid[::2, ::2] = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    found = find_boxes(grid, 0.5, WHOLE)
    assert len(found) == MAX_BOXES
    assert [box[4] for box in found] == [float(score) for score in range(100, 80, -1)]


def test_a_flat_map_is_one_region():
    assert find_boxes(np.full((28, 28), 7.0, np.float32), RULE.threshold - 99, WHOLE) == [[0.0, 0.0, 1.0, 1.0, 7.0]]
