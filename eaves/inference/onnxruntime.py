"""The only module that imports onnxruntime; before the import it sets the variable that switches telemetry off.

onnxruntime reads the variable while it is imported. A program that imports onnxruntime before it imports Eaves has to
set the variable itself. `eaves.inference.quantizer` imports this module first.
"""

from __future__ import annotations

import os

from eaves.base.telemetry import TELEMETRY_OFF

os.environ.update(TELEMETRY_OFF)

import onnxruntime
from onnxruntime import GraphOptimizationLevel, InferenceSession, RunOptions, SessionOptions

__all__ = ["VERSION", "GraphOptimizationLevel", "InferenceSession", "RunOptions", "SessionOptions"]

VERSION: str = onnxruntime.__version__
