"""What TensorFlow answers: `python -P -m converters.oracle SAVED_MODEL RECIPE OUTPUT IMAGE...`.

A child process of the conversion, the other half of the parity proof. It goes from encoded bytes through the recipe
and the SavedModel, one image at a time, and writes logits, probabilities and tensor digests to an .npz file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from converters.export import run_child
from eaves.artifact.golden import tensor_digest
from eaves.recipe import Recipe, parse_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The training framework's answers.

    Attributes:
        logits: (N, labels) float32.
        probabilities: (N, labels) float32.
        tensor_sha256: Digest of each input tensor.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    tensor_sha256: tuple[str, ...]


def ask_tensorflow(saved_model: Path, recipe: Recipe, images: Sequence[Path], *, timeout_s: float) -> Truth:
    """Run the SavedModel over encoded images in a child process.

    Raises:
        ConversionError: When it fails.
    """
    with TemporaryDirectory() as folder:
        output = Path(folder) / "truth.npz"
        command = [
            sys.executable,
            "-P",
            "-m",
            "converters.oracle",
            str(saved_model),
            json.dumps(recipe.to_dict()),
            str(output),
        ]
        run_child(
            [*command, *map(str, images)], what="TensorFlow, answering for the parity proof,", timeout_s=timeout_s
        )
        with np.load(output, allow_pickle=False) as stored:
            return Truth(
                logits=stored["logits"],
                probabilities=stored["probabilities"],
                tensor_sha256=tuple(stored["tensor_sha256"].tolist()),
            )


def main(saved_model: str, recipe_json: str, output: str, *paths: str) -> None:
    """The child's work."""
    import tensorflow as tf

    recipe = parse_recipe(json.loads(recipe_json))
    signature = tf.saved_model.load(saved_model).signatures["serving_default"]
    (input_name,) = signature.structured_input_signature[1]
    logits, probabilities, digests = [], [], []
    for path in paths:
        tensor = recipe.tensor(Path(path).read_bytes())
        answer = signature(**{input_name: tf.constant(tensor[np.newaxis])})
        logits.append(answer["logits"].numpy()[0])
        probabilities.append(answer["probabilities"].numpy()[0])
        digests.append(tensor_digest(tensor))
    np.savez(
        output,
        logits=np.asarray(logits, dtype=np.float32),
        probabilities=np.asarray(probabilities, dtype=np.float32),
        tensor_sha256=np.asarray(digests),
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main(*sys.argv[1:])
