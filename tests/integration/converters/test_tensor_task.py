"""The task `tensor`: a foreign ONNX file of numbers > artifact > a process that answers numbers with numbers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, load_golden, open_artifact
from eaves.errors import ConfigError, ConversionError, EavesError
from eaves.event_schemas import SCHEMAS
from eaves.events import TENSOR_CAPTURED, Event, decode, encode_binary, encode_structured
from eaves.inference.handler import load_handler
from eaves.inference.replay import replay_in_child
from eaves.inference.session import open_session
from functions.pipeline import open_predictor
from functions.settings import ServeSettings
from tests.fakes.models.sensors import LABELS, build_sensor_graph, write_sensors
from tests.processes.function import Function, serving

SETTINGS = ConvertSettings()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("air")
    return convert(write_sensors(folder / "model"), folder / "a", SETTINGS)


def example(artifact: Artifact) -> tuple[bytes, dict[str, Any]]:
    case = load_golden(artifact)[0]
    return (artifact.path / case.file).read_bytes(), dict(case.outputs)


def test_the_artifact_says_what_it_is(artifact: Artifact):
    manifest = open_artifact(artifact.path, level="full").manifest
    assert (manifest.task, manifest.recipe, manifest.labels, manifest.precision) == ("tensor", None, LABELS, "fp32")
    assert (manifest.input.name, manifest.input.shape) == ("window", (-1, 4, 3))
    assert [(spec.name, spec.dtype, spec.shape) for spec in manifest.outputs] == [
        ("index", "int64", (-1,)),
        ("level", "float32", (-1, 3)),
    ]
    assert manifest.parity.images == 11
    assert len(load_golden(artifact)) == SETTINGS.golden


def test_a_free_axis_takes_windows_of_any_length(tmp_path: Path):
    path = write_sensors(tmp_path / "m", build_sensor_graph(steps="steps"))
    (tmp_path / "m/samples/00.json").write_text("[[1, 2, 3], [4, 5, 6]]")
    made = convert(path, tmp_path / "a", SETTINGS)
    predictor = open_predictor(made, open_session(made), ServeSettings(), load_handler(made))
    for steps in (1, 7):
        outputs = predictor.predict(json.dumps([[1, 2, 3]] * steps).encode()).payload["outputs"]
        assert len(outputs["level"]) == 3
    assert predictor.run(np.ones((2, 3), np.float32))["index"].shape == ()


def two_inputs() -> onnx.ModelProto:
    model = build_sensor_graph()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 1]))
    model.graph.node.append(helper.make_node("Identity", ["more"], ["same"]))
    model.graph.output.append(helper.make_tensor_value_info("same", TensorProto.FLOAT, ["n", 1]))
    return model


def renamed(name: str) -> onnx.ModelProto:
    model = build_sensor_graph()
    model.graph.node.append(helper.make_node("Identity", ["level"], [name]))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]))
    return model


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any], str]] = {
    "two inputs": (two_inputs, {}, "the model must have one input; it has window, more"),
    "no batch": (lambda: build_sensor_graph(batch=5), {}, "its first axis must be the batch"),
    "a name of ours": (lambda: renamed("t0001"), {}, "the input or output name 't0001' is not supported"),
    "labels of two outputs": (lambda: renamed("again"), {}, "3 labels, but 2 outputs with one number for each label"),
    "another size": (lambda: build_sensor_graph(steps=9), {}, "00.json: found 4 values on axis 0"),
    "a height": (build_sensor_graph, {"height": 3}, "unknown setting"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_served_is_refused(tmp_path: Path, case: str):
    build, declared, message = REFUSED[case]
    with pytest.raises((ConversionError, ConfigError), match=message):
        convert(write_sensors(tmp_path / "m", build(), **declared), tmp_path / "a", SETTINGS)
    assert not (tmp_path / "a").exists()


def test_int8_and_other_tasks_are_refused(tmp_path: Path):
    path = write_sensors(tmp_path / "m")
    for settings in (ConvertSettings(precision="int8"), ConvertSettings(task="embed")):
        with pytest.raises(EavesError, match="which has no other task and only the precision fp32"):
            convert(path, tmp_path / "a", settings)


HANDLER = """
import numpy as np
content_types = ("text/csv",)
def preprocess(data):
    return np.array([line.split(",") for line in data.decode().split()], np.float32)
def postprocess(outputs):
    return {"level": outputs["level"].max(), "label": "bad" if outputs["index"] == 2 else "ok"}
"""


def test_a_handler_reads_what_the_sensor_writes(tmp_path: Path):
    path = write_sensors(tmp_path / "m")
    for sample in (tmp_path / "m/samples").iterdir():
        rows = json.loads(sample.read_text())["values"]
        sample.with_suffix(".csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
        sample.unlink()
    (tmp_path / "handler.py").write_text(HANDLER)
    made = convert(path, tmp_path / "a", ConvertSettings(handler=str(tmp_path / "handler.py")))
    predictor = open_predictor(made, open_session(made), ServeSettings(), load_handler(made))
    prediction = predictor.predict(example(made)[0])
    assert prediction.attributes == {"label": prediction.payload["label"]}
    assert predictor.accepts("text/csv")
    for run_handler in (True, False):
        assert all(result.ok for result in replay_in_child(made, run_handler=run_handler))


@pytest.fixture(scope="module")
def function(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with serving(artifact.path, tmp_path_factory.mktemp("function"), EAVES_SELF_TEST="all") as started:
        yield started


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_an_event_of_numbers_gets_an_event_of_numbers(
    function: Function, artifact: Artifact, encode: Callable[[Event], tuple[dict[str, str], bytes]]
):
    data, expected = example(artifact)
    cause = Event(id="1", source="/roof", type=TENSOR_CAPTURED, datacontenttype="application/json", data=data)
    headers, body = encode(cause)
    status, answered, content = function.request("POST", "/", body, **headers)
    assert status == 200, content
    reply = decode(answered, content)
    jsonschema.validate(reply.json(), SCHEMAS[reply.type])
    document = reply.json()
    assert reply.type == "dev.eaves.tensor.predicted.v1"
    assert document["label"] == reply.extensions["label"] == LABELS[document["outputs"]["index"]]
    np.testing.assert_allclose(document["outputs"]["level"], expected["level"], rtol=1e-4)
    assert function.request("POST", "/", content, **answered)[0] == 202
