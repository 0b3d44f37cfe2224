"""The conversion's settings."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.config import setting

OPSET = 17
"""Policy: the newest operator set that tf2onnx's own tests cover on every layer we register (it writes up to 18), and
that onnxruntime reads from 1.12 on, so that an old runtime on an edge node still opens the file. Raised on purpose
only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSettings:
    """How a run, or a model that others made, becomes an artifact."""

    opset: int = setting(OPSET, "ONNX operator set of the graph; see docs/02-conversion.md.", minimum=13, maximum=18)
    tolerance: float = setting(
        1e-3,
        "Largest difference of a logit or a probability between TensorFlow and onnxruntime; 1e-5 is usual for float32.",
        minimum=0,
        maximum=1,
    )
    golden: int = setting(
        10, "Golden images that travel with the model: one a class, up to this many.", minimum=1, maximum=100
    )
    timeout_s: float = setting(900.0, "Seconds that a child process may take.", minimum=10, maximum=86400)
    memory_limit_mb: int = setting(
        0, "Resident memory a child process may reach, MB; 0 for any. Inception V3 takes about 1,000.", minimum=0
    )
