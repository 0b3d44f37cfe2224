"""Trains a network that classifies 24 hours of air-quality readings; an example of a model without images.

It writes model/air.onnx, model/samples/*.json and model/model.yaml. The readings are synthetic: CO2 (ppm), fine dust
(ug/m3) and temperature (degrees Celsius) of each hour, for three kinds of days.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

HOURS = 24
LABELS = ("fair", "good", "poor")
LEVELS = np.array([[800, 25, 21], [450, 8, 20], [1400, 60, 23]])
"""Mean of each reading (columns: CO2, fine dust, temperature) for each label (rows)."""
SPREAD = np.array([80, 4, 2])


def make_windows(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return random readings (count, HOURS, 3) float32, and the number of each one's label (count,)."""
    truth = random.integers(0, len(LABELS), count)
    day = np.sin(np.arange(HOURS) / HOURS * 2 * np.pi)[:, np.newaxis]
    windows = LEVELS[truth][:, np.newaxis] + SPREAD * (day + random.normal(size=(count, HOURS, 3)))
    return windows.astype(np.float32), truth


def main() -> None:
    """Train the network, print its accuracy, and write the model and its samples."""
    random = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    windows, truth = make_windows(600, random)
    mean, spread = windows.mean(axis=(0, 1)), windows.std(axis=(0, 1))
    window = keras.Input((HOURS, 3), name="window")
    hidden = keras.layers.Conv1D(8, 5, activation="relu")(window)
    level = keras.layers.Dense(len(LABELS), name="level")(keras.layers.GlobalAveragePooling1D()(hidden))
    model = keras.Model(window, level)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss, metrics=["accuracy"])
    model.fit((windows - mean) / spread, truth, epochs=8, verbose=0)
    unseen, expected = make_windows(200, random)
    print(f"accuracy on unseen windows: {model.evaluate((unseen - mean) / spread, expected, verbose=0)[1]:.2f}")

    folder = Path("model")
    (folder / "samples").mkdir(parents=True, exist_ok=True)

    @tf.function(input_signature=[tf.TensorSpec((None, HOURS, 3), tf.float32, name="window")])
    def answer(window: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"level": model((window - mean) / spread, training=False)}

    tf2onnx.convert.from_function(
        answer, input_signature=answer.input_signature, opset=17, output_path=str(folder / "air.onnx")
    )
    for number, values in enumerate(unseen[:20].round(2).tolist()):
        (folder / f"samples/{number:03d}.json").write_text(json.dumps({"values": values}))
    (folder / "model.yaml").write_text(f"name: air\ntask: tensor\nlabels: [{', '.join(LABELS)}]\nsamples: samples\n")


if __name__ == "__main__":
    main()
