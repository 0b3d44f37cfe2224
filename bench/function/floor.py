"""Predicts images in a process without HTTP, as fast as onnxruntime can: the floor of the benchmarks of a function.

`python -m bench.function.floor ARTIFACT JPEG` decodes, resizes and runs the JPEG. Each line `THREADS CALLERS COUNT` on
standard input predicts it COUNT times, with CALLERS callers at a time and THREADS threads within one run that never
spin, and prints one line of JSON. The recipe is the artifact's, the session is opened here, not by Eaves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Load
from bench.processes import environment
from eaves.artifact import open_artifact

SPINNING = "session.intra_op.allow_spinning"


class Floor:
    """The process that predicts without HTTP; `ask` makes it predict."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *, threads: int, callers: int = 1, count: int) -> Load:
        """Predict the image `count` times with `callers` callers at a time and `threads` threads within one run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{threads} {callers} {count}\n")
        self._process.stdin.flush()
        return Load(**json.loads(self._process.stdout.readline()))


@contextmanager
def open_floor(artifact: Path, image: Path) -> Iterator[Floor]:
    """Start the process, yield it, and end it after the `with` block."""
    command = [sys.executable, "-P", "-m", "bench.function.floor", str(artifact), str(image)]
    environ = environment(OPENBLAS_NUM_THREADS="1")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield Floor(process)
        finally:
            process.terminate()


def serve(artifact: str, image: str) -> None:
    """Answer the lines on standard input; sessions are opened when a number of threads is first asked for."""
    opened = open_artifact(Path(artifact))
    recipe, content = opened.manifest.image_recipe, Path(image).read_bytes()
    runs: dict[int, Callable[[Any], object]] = {}
    for line in sys.stdin:
        threads, callers, count = map(int, line.split())
        if threads not in runs:
            runs[threads] = open_run(opened.model_path, threads, optimise=opened.manifest.optimise_on_open)
            runs[threads](recipe.tensor(content)[np.newaxis])
        run = runs[threads]
        looped = _loop(lambda run=run: run(recipe.tensor(content)[np.newaxis]), callers, count)  # type: ignore[misc]
        print(json.dumps(asdict(looped)), flush=True)


def open_run(model: Path, threads: int, *, optimise: bool) -> Callable[[Any], object]:
    """Open the model with `threads` threads that don't spin, and return the function that runs a batch."""
    from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    options, levels = SessionOptions(), GraphOptimizationLevel
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(SPINNING, "0")
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    session = InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(["logits", "probabilities"], {name: batch})


def _loop(predict: Callable[[], object], callers: int, count: int) -> Load:
    """Predict `count` times with `callers` callers, each in a thread of its own when there are several."""
    following, durations = repeat(None, count), []

    def work() -> None:
        for _ in following:
            begin = time.perf_counter()
            predict()
            durations.append((time.perf_counter() - begin) * 1000)

    running = [threading.Thread(target=work) for _ in range(callers - 1)]
    start, cpu = time.perf_counter(), time.process_time()
    for thread in running:
        thread.start()
    work()
    for thread in running:
        thread.join()
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return Load(latencies_ms=durations, per_second=count / seconds, cpu_ms=cpu_s * 1000 / count)


if __name__ == "__main__":
    serve(*sys.argv[1:])
