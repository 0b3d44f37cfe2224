"""The artifact: the read-only directory that a conversion writes and a function serves, described by its manifest.

    manifest.json           the model's metadata, and the size and sha256 of every other file
    model.onnx              the ONNX graph
    weights/*.bin           the graph's external data
    labels.txt              one label per line, in the order of the outputs
    golden/                 inputs that travel with the model, and the outputs that it must reproduce for them
    handler.py              user code that makes the graph's input from bytes and the reply from its outputs

The contents are not trusted: opening an artifact checks names, sizes and digests, and never unpickles or imports a
file.
"""

from eaves.artifact.golden import GoldenCase, GoldenResult, Predict, check, load_golden, replay
from eaves.artifact.manifest import (
    FP32,
    INT8,
    AnomalyRule,
    DecisionRule,
    LabelScores,
    Manifest,
    Parity,
    Quantisation,
    Source,
    TensorSpec,
    Trial,
)
from eaves.artifact.store import Artifact, open_artifact, write_artifact

__all__ = [
    "FP32",
    "INT8",
    "AnomalyRule",
    "Artifact",
    "DecisionRule",
    "GoldenCase",
    "GoldenResult",
    "LabelScores",
    "Manifest",
    "Parity",
    "Predict",
    "Quantisation",
    "Source",
    "TensorSpec",
    "Trial",
    "check",
    "load_golden",
    "open_artifact",
    "replay",
    "write_artifact",
]
