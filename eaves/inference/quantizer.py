"""The parts of onnxruntime's quantiser that a conversion uses; a function's container image doesn't contain them."""

from __future__ import annotations

import eaves.inference.onnxruntime  # noqa: F401 - it switches the telemetry off, before the imports below

# isort: split
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

__all__ = ["CalibrationMethod", "QDQQuantizer", "QuantType", "TensorData", "TensorsData"]
