"""Loads and runs the model that the compared servers serve.

Pillow decodes and resizes the image, and onnxruntime runs the model with its default settings.
"""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """The ONNX model in the file that the environment variable MODEL names; it predicts the label of an image."""

    def __init__(self):
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def predict(self, data: bytes) -> dict:
        height, width = self.input.shape[1:3]
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        (probabilities,) = self.session.run(["probabilities"], {self.input.name: np.asarray(image)[np.newaxis]})
        return {"label": int(probabilities[0].argmax()), "score": float(probabilities[0].max())}
