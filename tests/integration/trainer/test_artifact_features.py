"""The features that a site sums are those that the deployed artifact's head reads, and what is refused."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from eaves.artifact import Artifact, open_artifact
from eaves.errors import ArtifactError
from tests.inputs.artifacts import split_artifact
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.model.feature_sums import Features


def compute_by_onnx(artifact: Artifact, images: Sequence[Path], file: Path) -> Features:
    """The features by a graph that onnx's own editing gives one more output, with its weights inside."""
    model = onnx.load(str(artifact.model_path))
    name = artifact.manifest.features
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(model, str(file))
    options = onnxruntime.SessionOptions()
    if not artifact.manifest.optimise_on_open:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options)
    recipe = artifact.manifest.image_recipe
    return np.concatenate(
        [session.run([name], {"image": recipe.tensor(path.read_bytes())[np.newaxis]})[0] for path in images]
    )


@pytest.mark.parametrize("kind", ["tiny_artifact", "tiny_int8"])
def test_features_are_those_of_the_graph_with_onnxs_own_editing(
    kind: str, tiny_run: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    artifact = open_artifact(split_artifact(request.getfixturevalue(kind), tmp_path / "artifact"))
    images = sorted((tiny_run.parent / "digits").glob("*/*.png"))[::7]
    before = {path: path.stat() for path in artifact.path.rglob("*")}
    features = ArtifactFeatures(artifact)
    found, logits = features.compute(features.recipe.tensor(path.read_bytes()) for path in images)
    np.testing.assert_array_equal(found, compute_by_onnx(artifact, images, tmp_path / "edited.onnx"))
    assert found.dtype == np.float32
    assert found.std() > 0
    assert logits.shape == (len(images), len(artifact.manifest.labels))
    assert features.origin.backbone == hashlib.sha256((artifact.path / "weights/backbone.bin").read_bytes()).hexdigest()
    assert features.point.shape == (1, found.shape[1])
    assert {path: path.stat() for path in artifact.path.rglob("*")} == before


def test_an_artifact_without_features_of_its_own_is_refused(tiny_artifact: Path, tmp_path: Path):
    with pytest.raises(ArtifactError) as refused:
        ArtifactFeatures(open_artifact(tiny_artifact))
    assert "the whole network was trained" in str(refused.value.hint)
    old = open_artifact(split_artifact(tiny_artifact, tmp_path / "artifact"))
    with pytest.raises(ArtifactError) as refused:
        ArtifactFeatures(replace(old, manifest=replace(old.manifest, features="")))
    assert refused.value.hint == "convert the run again"


def test_a_site_needs_no_training_framework():
    code = (
        "import sys, eaves.cli.commands.federate, trainer.federation.site_sums, trainer.federation.judgement\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'onnx', 'tensorflow', 'keras', 'tf2onnx'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
