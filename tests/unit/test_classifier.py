"""The task `classify`: what becomes of the model's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eaves.artifact import Artifact
from eaves.errors import ImageError
from functions.settings import ServeSettings
from tests.fakes.artifact import COLOURS, encode_png, write_colours
from tests.fakes.model import build_classifier


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


@pytest.mark.parametrize(("above", "confidence"), [(-0.001, "high"), (0.0, "high"), (0.001, "low")])
def test_confidence_is_high_from_the_threshold_on(artifact: Artifact, above: float, confidence: str) -> None:
    data = encode_png(COLOURS["red"])
    score = build_classifier(artifact).predict(data).payload["predictions"][0]["score"]
    settings = ServeSettings(high_confidence=score + above)
    assert build_classifier(artifact, settings).predict(data).attributes == {"label": "red", "confidence": confidence}


def test_an_image_as_pixels_is_answered_like_the_encoded_one(artifact: Artifact) -> None:
    classifier = build_classifier(artifact)
    pixels = np.full((12, 16, 3), COLOURS["green"], np.uint8)
    from_pixels, from_bytes = classifier.run(pixels), classifier.run(encode_png(COLOURS["green"]))
    assert from_pixels["label"] == "green"
    for name in [spec.name for spec in classifier.outputs]:
        np.testing.assert_array_equal(from_pixels[name], from_bytes[name])


def test_what_is_no_image_is_refused_as_tensors_too(artifact: Artifact) -> None:
    with pytest.raises(ImageError, match="not an image"):
        build_classifier(artifact).run(b"hello")
