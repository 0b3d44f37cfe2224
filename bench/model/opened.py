"""Opens and runs models in a new process, and prints time and memory as JSON, for `bench.model.conversion`.

`python -m bench.model.opened` runs everything on one thread and measures this thread's CPU time, so other programs
don't affect the results. Its arguments are one of:

    one MODEL TENSOR            opens and runs a model; prints times and memory
    pair MODEL MODEL TENSOR     runs two models in turn, so that drift of the machine affects both

MODEL is `onnx:FILE` (onnxruntime's defaults), `served:ARTIFACT` (as a function opens it on this machine) or
`portable:ARTIFACT` (as a function opens it on a CPU that none of its variants fits). TENSOR is a .npy file with a
batch of one image.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.process import private_bytes
from bench.measure.timing import median_ms
from eaves.artifact import Cpu, open_artifact
from eaves.inference.session import open_session

RUNS = 15
PAIRS = 60
Run = Callable[[Any], object]


def main(what: str, *arguments: str) -> dict[str, float]:
    """Measure one model (`one`) or two models alternately (`pair`), and return the results by name."""
    *models, tensor = arguments
    batch = np.load(tensor)
    return measure(models[0], batch) if what == "one" else compare(models[0], models[1], batch)


def measure(model: str, batch: Any) -> dict[str, float]:
    """Measure how long a model takes to open and to run, and how much memory it needs."""
    before = private_bytes()
    start = time.thread_time()
    run = open_model(model)
    session_ms = (time.thread_time() - start) * 1000
    run_ms = median_ms(lambda: run(batch), runs=RUNS, warmup=3, clock=time.thread_time)
    return {
        "session_ms": session_ms,
        "run_ms": run_ms,
        "private_mb": private_bytes() / 1e6,
        "before_mb": before / 1e6,
    }


def compare(first: str, second: str, batch: Any) -> dict[str, float]:
    """Run two models alternately, and return the median time of one image through each, ms."""
    runs = [open_model(first), open_model(second)]
    for run in runs:
        median_ms(lambda run=run: run(batch), runs=5, clock=time.thread_time)  # type: ignore[misc]
    pairs = [
        [median_ms(lambda run=run: run(batch), runs=1, warmup=0, clock=time.thread_time) for run in runs]  # type: ignore[misc]
        for _ in range(PAIRS)
    ]
    first_ms, second_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"first_ms": first_ms, "second_ms": second_ms}


def open_model(model: str) -> Run:
    """Open a model and return the function that runs it."""
    kind, _, path = model.partition(":")
    if kind == "onnx":
        return _open_onnx(path)
    artifact = open_artifact(Path(path))
    return open_session(artifact).run if kind == "served" else open_session(artifact, detect=Cpu).run


def _open_onnx(path: str) -> Run:
    """Open an ONNX file with onnxruntime's default settings, but with one thread."""
    from eaves.onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    dtype = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[taken.type]
    return lambda batch: session.run(None, {taken.name: batch.astype(dtype, copy=False)})


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
