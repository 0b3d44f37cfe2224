"""An artifact gets another head: what it ships is a head and a graph, and its answers are those of the head."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.merged_model import build_head
from converters.onnx.head import replace_head
from eaves.artifact import Artifact, check, load_golden, open_artifact
from eaves.errors import ConversionError, ParityError
from eaves.inference.session import open_session
from tests.inputs.artifacts import split_artifact
from trainer.calibration import prior_correction, softmax
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.model.feature_sums import LinearHead, SumsOrigin


@pytest.fixture(params=["fp32", "int8"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    known = request.getfixturevalue({"fp32": "tiny_artifact", "int8": "tiny_int8"}[request.param])
    return open_artifact(split_artifact(known, tmp_path / "base"), level="full")


def draw_head(features: int, classes: int) -> LinearHead:
    rng = np.random.default_rng(classes)
    return LinearHead(kernel=rng.normal(size=(features, classes)), bias=rng.normal(size=classes))


def merge_head(head: LinearHead, labels: Sequence[str], weights: tuple[float, ...] = ()) -> MergedHead:
    origin = SumsOrigin()
    return MergedHead(labels=tuple(labels), origin=origin, head=head, label_weights=weights)


def list_shipped(first: Artifact, second: Artifact) -> set[str]:
    """Files but the answers to the golden images."""
    known = first.manifest.files
    return {name for name, entry in second.manifest.files.items() if entry != known.get(name)} - {"golden/golden.json"}


@pytest.mark.parametrize("more", [-1, 0, 1], ids=["one class fewer", "as many", "one more"])
def test_another_head_ships_no_backbone_and_answers_as_the_head_does(base: Artifact, more: int, tmp_path: Path):
    labels = (*base.manifest.labels, "new")[: len(base.manifest.labels) + more]
    weights = (1.0, *[0.5] * (len(labels) - 1))
    features = ArtifactFeatures(base)
    head = merge_head(draw_head(features.golden.shape[1], len(labels)), labels, weights)
    version = "20260101-000000-abcdef12"
    made = [build_head(features, head, tmp_path / name / version, temperature=1.7) for name in ("first", "second")]
    assert made[0].digest == made[1].digest
    artifact = open_artifact(made[0].path, level="full")
    assert check(artifact, open_session(artifact).answer) == len(load_golden(base))
    assert artifact.manifest.parity.passed
    assert list_shipped(base, artifact) <= {"weights/head.bin", "model.onnx", "labels.txt"}
    halved = replace(head, head=head.head.divide(2.0))
    other = build_head(ArtifactFeatures(artifact), halved, tmp_path / version, temperature=1.0)
    assert list_shipped(artifact, other) == {"weights/head.bin"}
    logits = head.head(features.golden.astype(np.float64))
    scores = softmax(logits, 1.7, prior_correction(weights))
    for case, expected, shares in zip(load_golden(artifact), logits, scores, strict=True):
        assert np.abs(case.outputs["logits"] - expected).max() < 1e-3
        assert np.abs(case.outputs["probabilities"] - shares).max() < 1e-4
    assert (artifact.manifest.decision.choose(scores) == logits.argmax(axis=1)).all()


def test_only_a_head_that_fits_replaces_the_head_of_an_artifact(tiny_artifact: Path, base: Artifact, tmp_path: Path):
    size = ArtifactFeatures(base).golden.shape[1]
    weights = [np.zeros((size, 4)), np.zeros(4), np.zeros(4), np.ones(4)]
    with pytest.raises(ConversionError, match="can't be replaced"):
        replace_head(open_artifact(tiny_artifact), tmp_path, weights)
    with pytest.raises(ConversionError, match=rf"weights \[{size}, 4\] in its head, and not \({size + 1}, 4\)"):
        replace_head(base, tmp_path, [np.zeros((size + 1, 4)), *weights[1:]])


def test_a_golden_image_that_this_machine_decodes_otherwise_stops_it(base: Artifact, tmp_path: Path):
    cases = load_golden(base)
    shutil.copyfile(base.path / cases[1].file, base.path / cases[0].file)
    features = ArtifactFeatures(base)
    head = merge_head(draw_head(features.golden.shape[1], 4), base.manifest.labels)
    with pytest.raises(ParityError, match="different input tensors of the same image"):
        build_head(features, head, tmp_path / "v", temperature=1.0)
