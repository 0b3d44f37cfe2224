"""The only package that imports onnxruntime; before the import it sets the variable that switches telemetry off.

onnxruntime reads the variable while it is imported. import-linter forbids every other module to import onnxruntime.
Python runs this file before any other module of the package, so `eaves.onnxruntime.quantization` is covered too. A
program that imports onnxruntime itself before it imports Eaves has to set the variable itself.
"""

from __future__ import annotations

import os

from eaves.base.telemetry import TELEMETRY_OFF

os.environ.update(TELEMETRY_OFF)

import onnxruntime
from onnxruntime import GraphOptimizationLevel, InferenceSession, RunOptions, SessionOptions

__all__ = ["VERSION", "GraphOptimizationLevel", "InferenceSession", "RunOptions", "SessionOptions"]

VERSION: str = onnxruntime.__version__
