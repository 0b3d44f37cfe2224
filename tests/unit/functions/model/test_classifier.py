"""The task `classify`: what becomes of the model's scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from eaves.artifact import Artifact, DecisionRule
from eaves.errors import TensorError
from eaves.inference.handler import Handler
from eaves.inference.session import Session
from functions.model.image_tasks import Classifier
from functions.settings import ServeSettings
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import build_classifier


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.mark.parametrize(("above", "confidence"), [(-0.001, "high"), (0.0, "high"), (0.001, "low")])
def test_confidence_is_high_from_the_threshold_on(artifact: Artifact, above: float, confidence: str) -> None:
    data = encode_png(COLOURS["red"])
    score = build_classifier(artifact).predict(data).payload["predictions"][0]["score"]
    settings = ServeSettings(high_confidence=score + above)
    assert build_classifier(artifact, settings).predict(data).attributes == {"label": "red", "confidence": confidence}


def test_labels_below_the_threshold_are_left_out(artifact: Artifact) -> None:
    data = encode_png(COLOURS["red"])
    everything = build_classifier(artifact).predict(data).payload["predictions"]
    second = everything[1]["score"]
    kept = build_classifier(artifact, ServeSettings(threshold=second)).predict(data)
    assert kept.payload["predictions"] == everything[:2]
    none = build_classifier(artifact, ServeSettings(threshold=1, high_confidence=0.5)).predict(data)
    assert (none.payload, none.attributes) == ({"predictions": []}, {"confidence": "high"})


BLUISH_RED = (70, 10, 100)
"""A colour of which the model gives blue 0.76, red 0.23 and green 0.02."""
RARE_RED = DecisionRule(label_weights=(0.1, 0.1, 1.0))


def test_the_decision_rule_orders_the_labels_and_its_first_is_the_label(artifact: Artifact) -> None:
    weighted = replace(artifact, manifest=replace(artifact.manifest, decision=RARE_RED))
    data = encode_png(BLUISH_RED)
    plain, by_rule = build_classifier(artifact).predict(data), build_classifier(weighted).predict(data)
    scores = {item["label"]: item["score"] for item in plain.payload["predictions"]}
    assert list(scores) == ["blue", "red", "green"]
    assert 0.2 < scores["red"] < 0.3
    assert by_rule.payload["predictions"] == [
        {"label": name, "score": scores[name]} for name in ("red", "blue", "green")
    ]
    assert by_rule.attributes == {"label": "red", "confidence": "low"}
    assert plain.attributes == {"label": "blue", "confidence": "high"}
    assert build_classifier(weighted).run(data)["label"] == "red"
    assert build_classifier(artifact).run(data)["label"] == "blue"
    first = build_classifier(weighted, ServeSettings(top_k=1)).predict(data)
    assert first.payload["predictions"] == by_rule.payload["predictions"][:1]


def test_no_other_label_is_named_if_the_score_of_the_label_is_below_the_threshold(artifact: Artifact) -> None:
    weighted = replace(artifact, manifest=replace(artifact.manifest, decision=RARE_RED))
    found = build_classifier(weighted, ServeSettings(threshold=0.5)).predict(encode_png(BLUISH_RED))
    assert (found.payload, found.attributes) == ({"predictions": []}, {"confidence": "low"})
    kept = build_classifier(weighted, ServeSettings(threshold=0.1)).predict(encode_png(BLUISH_RED))
    assert [item["label"] for item in kept.payload["predictions"]] == ["red", "blue"]


def test_tensors_for_a_handlers_graph_are_the_graphs_own(artifact: Artifact) -> None:
    handler = Handler(preprocess=lambda data: np.zeros((8, 8, 3), np.uint8))
    classifier = Classifier(artifact, cast(Session, ColourSession()), ServeSettings(), handler=handler)
    assert classifier.input == artifact.manifest.input
    assert classifier.run(np.full((8, 8, 3), COLOURS["green"], np.uint8))["label"] == "green"
    with pytest.raises(TensorError, match=r"uint8 \(9, 8, 3\), but the model takes uint8 \(8, 8, 3\)"):
        classifier.run(np.zeros((9, 8, 3), np.uint8))
