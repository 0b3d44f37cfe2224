"""The task `classify`: what becomes of the model's scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eaves.artifact import Artifact, DecisionRule
from functions.settings import ServeSettings
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
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
