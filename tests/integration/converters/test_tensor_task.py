"""The task `tensor`: a foreign ONNX file of numbers > artifact > a process that answers numbers with numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, load_golden, open_artifact
from eaves.cli import cli
from eaves.errors import ConfigError, ConversionError, EavesError
from eaves.event_schemas import SCHEMAS
from eaves.events import TENSOR_CAPTURED, Event, decode, encode_binary, encode_structured
from eaves.inference.handler import load_handler
from eaves.inference.replay import replay_in_child
from eaves.inference.session import open_session
from functions.model.pipeline import open_predictor
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


def test_the_artifact_says_what_it_is(artifact: Artifact) -> None:
    manifest = open_artifact(artifact.path, level="full").manifest
    assert (manifest.task, manifest.recipe, manifest.labels, manifest.precision) == ("tensor", None, LABELS, "fp32")
    assert (manifest.input.name, manifest.input.shape) == ("window", (-1, 4, 3))
    assert [(spec.name, spec.dtype, spec.shape) for spec in manifest.outputs] == [
        ("index", "int64", (-1,)),
        ("level", "float32", (-1, 3)),
    ]
    assert manifest.parity.images == 11
    assert len(load_golden(artifact)) == SETTINGS.golden


def test_it_is_verified_inspected_and_deployed_like_any_other(artifact: Artifact, tmp_path: Path) -> None:
    def eaves(*arguments: str | Path) -> Any:
        result = CliRunner().invoke(cli, [str(one) for one in arguments], prog_name="eaves")
        assert result.exit_code == 0, result.output
        return result

    assert "10 golden images are reproduced" in eaves("verify", artifact.path).output
    reported = eaves("inspect", artifact.path).output
    assert "the sender's numbers are the model's input" in reported
    assert "tensor, 3 labels" in reported
    eaves("init", tmp_path, "--name", "air")
    options: list[str | Path] = ["--file", tmp_path / "eaves.yaml", "--state", tmp_path / "state"]
    assert eaves("deploy", artifact.path, *options).stdout == "air\n"
    made = eaves("convert", write_sensors(tmp_path / "m"), "--artifact", tmp_path / "a", *options[:2])
    assert "parity: on 11 samples, outputs differ from the original model's by at most" in made.output
    assert open_artifact(tmp_path / "a").digest == artifact.digest


def test_outputs_are_asked_for_by_names_of_any_length(tmp_path: Path) -> None:
    """TensorFlow's exporters write such names, and two of a model may differ behind the fortieth character only."""
    long = "StatefulPartitionedCall/model/predictions/Softmax:0", "StatefulPartitionedCall/model/predictions/Softmax:1"
    graph = build_sensor_graph()
    renamed = dict(zip(("level", "index"), long, strict=True))
    for output in graph.graph.output:
        output.name = renamed[output.name]
    for node in graph.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]
    made = convert(write_sensors(tmp_path / "model", graph), tmp_path / "a", SETTINGS)
    with serving(made.path, tmp_path) as function:
        tensor = {"name": "window", "datatype": "FP32", "shape": [1, 4, 3], "data": [1.0] * 12}
        for asked in ([], [long[0]], [long[1]], list(long)):
            request = {"inputs": [tensor], **({"outputs": [{"name": name} for name in asked]} if asked else {})}
            status, _, body = function.request("POST", "/v2/models/air/infer", json.dumps(request).encode())
            assert status == 200, body
            assert {one["name"] for one in json.loads(body)["outputs"]} == set(asked or long)


def test_a_free_axis_takes_windows_of_any_length(tmp_path: Path) -> None:
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
def test_what_can_not_be_served_is_refused(tmp_path: Path, case: str) -> None:
    build, declared, message = REFUSED[case]
    with pytest.raises((ConversionError, ConfigError), match=message):
        convert(write_sensors(tmp_path / "m", build(), **declared), tmp_path / "a", SETTINGS)
    assert not (tmp_path / "a").exists()


def test_int8_and_other_tasks_are_refused(tmp_path: Path) -> None:
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


def test_a_handler_reads_what_the_sensor_writes(tmp_path: Path) -> None:
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
    with serving(artifact.path, tmp_path_factory.mktemp("function")) as started:
        yield started


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_an_event_of_numbers_gets_an_event_of_numbers(
    function: Function, artifact: Artifact, encode: Callable[[Event], tuple[dict[str, str], bytes]]
) -> None:
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


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"[[1, 2], [3]]", "application/json", 422),
        (b"[[NaN]]", "application/json; charset=utf-8", 422),
        (b"[" * 50_000, "application/json", 422),
        (b"[[1, 2, 3]]", "image/png", 415),
    ],
)
def test_bad_numbers_are_the_senders(function: Function, data: bytes, content_type: str, status: int) -> None:
    found, headers, body = function.request("POST", "/", data, Content_Type=content_type)
    assert (found, headers["Content-Type"]) == (status, "application/problem+json"), body
    if status == 422:
        assert json.loads(body)["type"] == "urn:eaves:problem:tensor"
        assert "4 x 3" in json.loads(body)["detail"]
