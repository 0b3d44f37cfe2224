"""How long opening and running take here, for the page: of fp32 and of what ships."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from converters.page import Timings
from eaves.recipe import Recipe
from functions.session import Session

RUNS, OPENINGS = 9, 5


def measure(fp32: Path, shipped: Path, image: Path, recipe: Recipe) -> Timings:
    """Medians on one thread, the two graphs in turn, so that drift of the machine hits both.

    Args:
        fp32: Its graph; opened with optimisation, as a function would.
        shipped: The graph that ships; the same file when it is fp32.
        image: Any image.
        recipe: Bytes to tensor.
    """
    batch = recipe.tensor(image.read_bytes())[np.newaxis]

    def open_fp32() -> Session:
        return Session(fp32)

    def open_shipped() -> Session:
        return Session(shipped, optimise=shipped == fp32)

    openings = [(_ms(open_fp32), _ms(open_shipped)) for _ in range(OPENINGS)]
    first, second = open_fp32(), open_shipped()
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
