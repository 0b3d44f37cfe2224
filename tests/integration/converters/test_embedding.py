"""The task `embed`: features out of a run of ours and out of a declared model, served by a real process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, load_golden, open_artifact
from eaves.event_schemas import SCHEMAS
from eaves.events import Event, decode, encode_binary
from eaves.inference.session import open_session
from tests.once import build_once_here
from tests.processes.function import Function, serving

EMBED = ConvertSettings(task="embed", precision="auto")


@pytest.fixture(scope="module")
def embedding(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    made = build_once_here(tmp_path_factory, "embed", lambda root: convert(tiny_run, root / "a", EMBED).path, tiny_run)
    return open_artifact(made)


def features_of(run: Path, images: np.ndarray) -> np.ndarray:
    """What the trained model's head reads, by Keras itself."""
    import keras

    model = keras.saving.load_model(run / "model.keras", compile=False)
    return np.asarray(keras.Model(model.inputs[0], model.get_layer("head").input)(images))


@pytest.mark.long("a model is trained and converted, once on a machine")
def test_features_are_what_the_trained_head_reads(embedding: Artifact, tiny_artifact: Path, tiny_run: Path):
    manifest, plain = embedding.manifest, open_artifact(tiny_artifact).manifest
    assert (manifest.task, manifest.precision, plain.task) == ("embed", "fp32", "classify")
    assert "features" in manifest.quantisation.reason
    assert manifest.files["weights/backbone.bin"] == plain.files["weights/backbone.bin"]
    paths = [embedding.path / case.file for case in load_golden(embedding)]
    tensors = np.asarray([manifest.image_recipe.tensor(path.read_bytes()) for path in paths])
    outputs = open_session(embedding).answer(tensors)
    assert set(outputs) == {"features", "logits", "probabilities"}
    np.testing.assert_allclose(outputs["features"], features_of(tiny_run, tensors), atol=1e-4)
    expected = open_session(open_artifact(tiny_artifact)).answer(tensors)
    np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-4)


@pytest.fixture(scope="module")
def declared(tiny_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph as others might have made it: features as an output of any rank, called by their own name."""
    folder = tmp_path_factory.mktemp("declared")
    shutil.copytree(tiny_graph.parent, folder, dirs_exist_ok=True)
    model = onnx.load(str(folder / tiny_graph.name))
    head = next(node for node in model.graph.node if node.op_type == "MatMul")
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("Unsqueeze", [head.input[0], "axes"], ["pooled"]))
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", "d", 1, 1]))
    for file in folder.glob("exported.onnx*"):
        file.unlink()
    onnx.save(model, str(folder / tiny_graph.name))
    values = yaml.safe_load((folder / "model.yaml").read_text())
    (folder / "model.yaml").write_text(yaml.safe_dump({**values, "task": "embed", "features": "pooled"}))
    return folder / tiny_graph.name


@pytest.mark.long("a model is converted")
def test_a_declared_model_gives_the_same_features(declared: Path, embedding: Artifact, tmp_path: Path):
    made = convert(declared, tmp_path / "a", ConvertSettings())
    assert made.manifest.task == "embed"
    image = (embedding.path / "golden/000.png").read_bytes()
    tensor = made.manifest.image_recipe.tensor(image)[np.newaxis]
    np.testing.assert_allclose(
        open_session(made).answer(tensor)["features"], open_session(embedding).answer(tensor)["features"], atol=1e-4
    )
    assert open_session(made).answer(np.concatenate([tensor, tensor]))["features"].shape[0] == 2


@pytest.fixture
def function(embedding: Artifact, tmp_path: Path) -> Iterator[Function]:
    with serving(embedding.path, tmp_path, EAVES_SELF_TEST="all") as started:
        yield started


def test_a_process_answers_an_event_with_the_vector(function: Function, embedding: Artifact):
    case = load_golden(embedding)[0]
    data = (embedding.path / case.file).read_bytes()
    cause = Event(id="1", source="/x", type="dev.eaves.image.captured.v1", datacontenttype="image/png", data=data)
    headers, body = encode_binary(cause)
    status, answered, content = function.request("POST", "/", body, **headers)
    assert status == 200, content
    reply = decode(answered, content)
    document = reply.json()
    jsonschema.validate(reply.json(), SCHEMAS[reply.type])
    assert reply.type == "dev.eaves.image.embedded.v1"
    assert not {"label", "confidence"} & set(reply.extensions)
    assert document["dimensions"] == len(document["embedding"]) == len(case.outputs["features"])
    np.testing.assert_allclose(document["embedding"], case.outputs["features"], rtol=1e-3, atol=1e-3)
    again = function.request("POST", "/", content, **answered)
    assert (again[0], again[2]) == (202, b"")
