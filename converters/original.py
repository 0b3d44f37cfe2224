"""What an ONNX file answers as it came: `python -P -m converters.original FACTS`, a child process of the conversion.

onnxruntime with every optimisation off: the plainest reading of the file that is still fast enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from converters.child import answer
from converters.witness import testify
from eaves.errors import ConversionError

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the file over encoded images.

    Args:
        job: As `witness.testify` takes it.

    Raises:
        ConversionError: When onnxruntime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = (
        1  # its answers are in the artifact, which must not depend on how many CPUs there are
    )
    try:
        session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, which share no public root
        raise ConversionError(f"onnxruntime can't load the original file: {str(error)[:300]}") from error
    taken = session.get_inputs()[0]  # `adapter` has refused what isn't one input of a known type
    names = [output.name for output in session.get_outputs()]
    testify(
        job,
        DTYPES[taken.type],
        lambda batch: dict(zip(names, session.run(names, {taken.name: batch}), strict=True)),
    )
    return {}


if __name__ == "__main__":
    answer(work)
