"""The serving session with real graphs: which file it opens, and what it refuses to open."""

from pathlib import Path

import numpy as np
import pytest

from eaves.artifact import Artifact, check
from eaves.artifact.store import MODEL
from eaves.errors import ArtifactError
from eaves.inference.session import Session, open_session
from tests.fakes.models.artifact import ColourSession
from tests.fakes.models.graph import WEIGHTS, build_graph, save, write_graph_artifact

IMAGE = np.full((1, 8, 8, 3), 200, np.uint8)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_graph_artifact(tmp_path / "artifact")


@pytest.mark.parametrize("optimise", [True, False])
def test_a_graph_answers_the_same_optimised_or_not(artifact: Artifact, optimise: bool):
    outputs = Session(artifact.model_path, optimise=optimise).answer(IMAGE)
    expected = ColourSession().answer(IMAGE)
    assert all(np.allclose(outputs[name], expected[name], atol=1e-5) for name in ("logits", "probabilities"))
    assert check(artifact, open_session(artifact).answer) == 3


def test_a_batch_that_an_unproven_graph_does_not_take_is_the_artifacts_fault(artifact: Artifact):
    session = open_session(artifact)
    for batch in (IMAGE.astype(np.int8), IMAGE[:, :4], IMAGE[0]):
        with pytest.raises(ArtifactError, match=r"onnxruntime can't run .*model.onnx on u?int8"):
            session.attempt(batch)
    assert session.attempt(IMAGE)["logits"][0, 0] == pytest.approx(8.0, rel=1e-5)


def outside(tmp_path: Path) -> Path:
    """Weights beside the artifact, which a graph may want."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    return secret


# Our own check of the list in the manifest doesn't see what the graph names: onnxruntime's own refusal is what keeps
# external data inside, and these tests are what says that it does.
@pytest.mark.parametrize("way", ["..", "deep ..", "absolute", "symlink", "symlinked folder", "dangling", "short"])
@pytest.mark.parametrize("optimise", [True, False])
def test_weights_outside_the_models_folder_are_never_read(tmp_path: Path, way: str, optimise: bool):
    secret = outside(tmp_path)
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    location = {"..": "../secret.bin", "deep ..": "weights/../../secret.bin", "absolute": str(secret)}.get(way, "w.bin")
    if way == "symlink":
        (folder / "w.bin").symlink_to(secret)
    elif way == "symlinked folder":
        location = "linked/secret.bin"
        (folder / "linked").symlink_to(tmp_path)
    elif way == "dangling":
        (folder / "w.bin").symlink_to(tmp_path / "nothing")
    elif way == "short":
        (folder / "w.bin").write_bytes(WEIGHTS.tobytes()[:8])
    path = save(build_graph(location=location), folder / MODEL)
    with pytest.raises(ArtifactError, match="can't load"):
        Session(path, optimise=optimise)
