"""The model that every peer serves: the exported model with Pillow's decoder and onnxruntime's defaults."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """The model in the file that the variable MODEL names."""

    def __init__(self):
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def predict(self, data: bytes) -> dict:
        height, width = self.input.shape[1:3]
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        (probabilities,) = self.session.run(["probabilities"], {self.input.name: np.asarray(image)[np.newaxis]})
        return {"label": int(probabilities[0].argmax()), "score": float(probabilities[0].max())}
