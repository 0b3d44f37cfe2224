"""Serves the model with KServe's Python package and its protocol v1, for the comparison with a function of Eaves."""

import base64
import os

import kserve
from model import Model


class Predictor(kserve.Model):
    def __init__(self):
        super().__init__("model")
        self.model = Model()
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": [self.model.predict(base64.b64decode(one["b64"])) for one in payload["instances"]]}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False, workers=1).start([Predictor()])
