"""Measures how long the portable fp32 graph and the shipped graph take to open and to run on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from converters.report_page import Timings
from eaves.artifact import Artifact
from eaves.inference.session import Session, open_session

RUNS, OPENINGS = 9, 5


def measure_latency(fp32: Path, shipped: Artifact) -> Timings:
    """Measure median times on one thread; the two graphs run in turn, so that a slower machine slows both.

    Args:
        fp32: Path of the portable fp32 graph.
        shipped: Artifact, opened as a function opens it on this machine, which may use a variant.
    """
    spec = shipped.manifest.input
    batch = np.full((1, *spec.shape[1:]), 127, spec.dtype)  # every image takes the same time
    openings = [(_ms(lambda: Session(fp32)), _ms(lambda: open_session(shipped))) for _ in range(OPENINGS)]
    first, second = Session(fp32), open_session(shipped)
    runs = [(_ms(lambda: first.run(batch)), _ms(lambda: second.run(batch))) for _ in range(RUNS)]
    return Timings(
        fp32_session_ms=statistics.median(one for one, _ in openings),
        shipped_session_ms=statistics.median(other for _, other in openings),
        fp32_ms=statistics.median(one for one, _ in runs),
        shipped_ms=statistics.median(other for _, other in runs),
    )


def _ms(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000
