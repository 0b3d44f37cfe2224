"""An artifact and a session that need neither TensorFlow nor onnxruntime: the model is the mean of each colour."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from eaves.artifact import Artifact, GoldenCase, Manifest, Parity, Source, TensorSpec, write_artifact
from eaves.artifact.golden import GOLDEN, INDEX, tensor_digest, write_index
from eaves.artifact.manifest import OUTPUTS
from eaves.artifact.store import LABELS, MODEL, file_entries
from eaves.recipe import Recipe

COLOURS = {"blue": (20, 40, 250), "green": (10, 240, 30), "red": (250, 10, 20)}
RECIPE = Recipe(height=8, width=8)

Floats = npt.NDArray[np.float32]


def encode_png(colour: tuple[int, int, int], size: tuple[int, int] = (16, 12)) -> bytes:
    """A picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


class ColourSession:
    """Answers as `eaves.inference.session.Session` does: logits in the order blue, green, red."""

    def run(self, batch: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Logits and probabilities of a batch (N, H, W, 3)."""
        logits = batch.mean(axis=(1, 2), dtype=np.float32)[:, ::-1] / np.float32(25)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return logits, powers / powers.sum(axis=1, keepdims=True)

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, Floats]:
        """The same by name."""
        logits, probabilities = self.run(batch)
        return {"logits": logits, "probabilities": probabilities}


def build_manifest(staging: Path, **changes: Any) -> Manifest:
    """A manifest of what lies in a staging directory."""
    labels = changes.get("labels", tuple(COLOURS))
    manifest = Manifest(
        name="colours",
        version="20261124-120000-abcdef01",
        labels=labels,
        input=TensorSpec(name="image", dtype="uint8", shape=(-1, 8, 8, 3)),
        outputs=tuple(TensorSpec(name=name, shape=(-1, len(labels))) for name in OUTPUTS),
        recipe=RECIPE,
        parity=Parity(images=3, top1_agreement=1.0, tolerance=1e-3, passed=True),
        opset=17,
        golden_tolerance=1e-3,
        source=Source(digest="0" * 64),
        licences={"model": "Apache-2.0", "numpy": "BSD-3-Clause"},
        toolchain={"numpy": "2.0"},
        files=file_entries(staging),
    )
    return replace(manifest, **changes)


def fill(staging: Path) -> Path:
    """A staging directory with everything but the manifest."""
    (staging / GOLDEN).mkdir(parents=True)
    (staging / "weights").mkdir()
    (staging / MODEL).write_bytes(b"not really a graph")
    (staging / "weights/backbone.bin").write_bytes(bytes(5000))
    (staging / LABELS).write_text("".join(f"{label}\n" for label in COLOURS))
    cases = []
    for number, (label, colour) in enumerate(COLOURS.items()):
        name = f"{GOLDEN}/{number:03d}.png"
        (staging / name).write_bytes(encode_png(colour))
        tensor = RECIPE.tensor((staging / name).read_bytes())
        answers = ColourSession().answer(tensor[np.newaxis])
        digest = tensor_digest(tensor)
        outputs = {name: tuple(output[0].tolist()) for name, output in answers.items()}
        cases.append(GoldenCase(file=name, label=label, tensor_sha256=digest, outputs=outputs))
    write_index(staging / INDEX, cases)
    return staging


def write_colours(target: Path, *, change: Callable[[Path], object] = lambda staging: None) -> Artifact:
    """An artifact of the colour model.

    Args:
        target: Its directory.
        change: Called with the staging directory before the manifest is made of it.
    """
    staging = fill(target.parent / f".{target.name}.staging")
    change(staging)
    return write_artifact(staging, target, build_manifest(staging))
