"""The artifact: what a conversion leaves and a function serves, a read-only directory described by its manifest.

    manifest.json           what it is, and size and sha256 of every other file
    model.onnx              the graph
    weights/*.bin           its external data
    labels.txt              one label a line, in the order of the outputs
    golden/                 inputs that travel with the model, and the outputs it must reproduce
    variants/TARGET/        the graph once more, fully optimised for one instruction set
    handler.py              the user's own way from bytes to the graph's input, and from its outputs to the reply

It never trusts the directory: names, sizes and digests are checked on opening, nothing is unpickled or imported.
"""

from eaves.artifact.conversion_results import FP32, INT8, Evidence, Parity, Quantisation, Trial
from eaves.artifact.golden import GoldenCase, GoldenResult, Predict, check, load_golden, replay
from eaves.artifact.manifest import FileEntry, Manifest, Source, TensorSpec, Variant, parse_manifest
from eaves.artifact.store import Artifact, open_artifact, write_artifact
from eaves.artifact.targets import TARGETS, Cpu, detect_cpu

__all__ = [
    "FP32",
    "INT8",
    "TARGETS",
    "Artifact",
    "Cpu",
    "Evidence",
    "FileEntry",
    "GoldenCase",
    "GoldenResult",
    "Manifest",
    "Parity",
    "Predict",
    "Quantisation",
    "Source",
    "TensorSpec",
    "Trial",
    "Variant",
    "check",
    "detect_cpu",
    "load_golden",
    "open_artifact",
    "parse_manifest",
    "replay",
    "write_artifact",
]
