"""The artifact: what a conversion leaves and a function serves, a read-only directory described by its manifest.

    manifest.json           what it is, and size and sha256 of every other file
    model.onnx              the graph
    weights/*.bin           its external data
    labels.txt              one label a line, in the order of the outputs
    golden/                 inputs that travel with the model, and the outputs it must reproduce

It never trusts the directory: names, sizes and digests are checked on opening, nothing is unpickled or imported.
"""

from eaves.artifact.golden import GoldenCase, check, load_golden
from eaves.artifact.manifest import FileEntry, Manifest, Parity, TensorSpec, parse_manifest
from eaves.artifact.store import Artifact, open_artifact, write_artifact

__all__ = [
    "Artifact",
    "FileEntry",
    "GoldenCase",
    "Manifest",
    "Parity",
    "TensorSpec",
    "check",
    "load_golden",
    "open_artifact",
    "parse_manifest",
    "write_artifact",
]
