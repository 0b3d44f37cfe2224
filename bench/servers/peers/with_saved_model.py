"""Serves the run's TensorFlow SavedModel with Flask and waitress, for the comparison with a function of Eaves."""

import io
import os

import numpy as np
import tensorflow as tf
import waitress
from flask import Flask, request
from PIL import Image

app = Flask(__name__)
loaded = tf.saved_model.load(os.environ["SAVED_MODEL"])
serve = loaded.signatures["serving_default"]
(spec,) = serve.structured_input_signature[1].values()


@app.post("/")
def predict():
    height, width = spec.shape[1:3]
    image = Image.open(io.BytesIO(request.get_data())).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    probabilities = serve(**{spec.name: tf.constant(np.asarray(image)[np.newaxis], spec.dtype)})["probabilities"]
    return {"label": int(np.argmax(probabilities)), "score": float(np.max(probabilities))}


waitress.serve(app, host="127.0.0.1", port=int(os.environ["PORT"]), threads=8)
