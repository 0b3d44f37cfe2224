"""A model of the task `anomaly` as a real ONNX graph, without training: an image is unusual where it is bright."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from eaves.artifact import AnomalyRule, Artifact, GoldenCase, TensorSpec, write_artifact
from eaves.artifact.golden import GOLDEN, INDEX, tensor_digest, write_index
from eaves.artifact.manifest import MAP, OUTPUTS
from eaves.artifact.store import LABELS, MODEL
from tests.fakes.models.artifact import RECIPE, build_manifest
from tests.fakes.models.graph import save

VERDICTS = ("normal", "anomalous")
SPREAD = 10.0
RULE = AnomalyRule(
    good="good",
    method="diagonal",
    threshold=100.0,
    calibration=tuple(float(score) for score in range(20, 80)),
    groups=60,
    false_alarms=0.05,
    confidence=0.95,
)


def encode_spots(*spots: tuple[int, int, int, int, int], size: tuple[int, int] = (64, 64), dark: int = 10) -> bytes:
    """A dark PNG with spots of (left, top, right, bottom, brightness), pixels."""
    picture = Image.new("RGB", size, (dark,) * 3)
    for left, top, right, bottom, brightness in spots:
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), (brightness,) * 3)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


class BrightSession:
    """Answers as `eaves.inference.session.Session` does: the map is the brightness of 4 x 4 places."""

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[np.float32]]:
        """All outputs of a batch (N, 8, 8, 3) by name."""
        cells = batch.reshape(-1, 4, 2, 4, 2, 3).mean(axis=(2, 4, 5), dtype=np.float32)
        scores = cells.max(axis=(1, 2))
        logits = np.stack([np.zeros_like(scores), (scores - np.float32(RULE.threshold)) / np.float32(SPREAD)], axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"logits": logits, "probabilities": powers / powers.sum(axis=1, keepdims=True), MAP: cells}


def build_graph() -> onnx.ModelProto:
    """uint8 image (batch, 8, 8, 3) > brightness > logits, probabilities, map."""
    constants: dict[str, npt.NDArray[Any]] = {
        "zero": np.array([[0]], np.float32),
        "spread": np.array([[SPREAD]], np.float32),
        "threshold": np.array([[RULE.threshold]], np.float32),
        "shape": np.array([-1, 4, 2, 4, 2, 3]),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape"], ["cells"]),
        helper.make_node("ReduceMean", ["cells"], [MAP], axes=[2, 4, 5], keepdims=0),
        helper.make_node("ReduceMax", [MAP], ["score"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["score", "last"], ["column"]),
        helper.make_node("Sub", ["column", "threshold"], ["excess"]),
        helper.make_node("Div", ["excess", "spread"], ["anomalous"]),
        helper.make_node("Mul", ["column", "zero"], ["normal"]),
        helper.make_node("Concat", ["normal", "anomalous"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 3])],
        [
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in OUTPUTS),
            helper.make_tensor_value_info(MAP, TensorProto.FLOAT, ["batch", 4, 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_inspector(target: Path, **manifest: Any) -> Artifact:
    """An artifact that onnxruntime opens.

    Args:
        target: Its directory.
        **manifest: Fields that differ.
    """
    staging = target.parent / f".{target.name}.staging"
    (staging / GOLDEN).mkdir(parents=True)
    save(build_graph(), staging / MODEL)
    (staging / LABELS).write_text("".join(f"{label}\n" for label in VERDICTS))
    cases = []
    for number, spots in enumerate([(), ((0, 0, 32, 32, 200),)]):
        name = f"{GOLDEN}/{number:03d}.png"
        (staging / name).write_bytes(encode_spots(*spots))
        tensor = RECIPE.tensor((staging / name).read_bytes())
        answers = BrightSession().answer(tensor[np.newaxis])
        outputs = {name: tuple(output.ravel().tolist()) for name, output in answers.items()}
        cases.append(
            GoldenCase(file=name, label=VERDICTS[number], tensor_sha256=tensor_digest(tensor), outputs=outputs)
        )
    write_index(staging / INDEX, cases)
    shapes = {**dict.fromkeys(OUTPUTS, (-1, 2)), MAP: (-1, 4, 4)}
    fields = {
        "name": "parts",
        "task": "anomaly",
        "labels": VERDICTS,
        "outputs": tuple(TensorSpec(name=name, shape=shape) for name, shape in shapes.items()),
        "anomaly": RULE,
    }
    return write_artifact(staging, target, build_manifest(staging, **{**fields, **manifest}))
