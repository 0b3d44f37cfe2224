"""Measures how a graph that is laid out for the CPU changes the opening of a session and its memory.

`python -P -m bench.function.packing one ARTIFACT GRAPHS` opens an artifact in this process as a function does, and then
once more with a thread for each CPU, and prints the figures as JSON. GRAPHS is a folder of prepared graphs, or `-`.
`measure` runs this in new processes, for the portable graph, for the prepared graph, and for the artifact's variant.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.measure.process import memory_bytes
from eaves.artifact import Artifact, open_artifact
from eaves.inference.graph_preparation import prepare_in_child
from eaves.inference.session import Session, open_session

ROUNDS = 5
PORTABLE, PREPARED, VARIANT = "portable graph, optimised on opening", "graph prepared for this machine", "variant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Figures of one process that opens two sessions of an artifact.

    Attributes:
        cpu_ms: CPU time until the first session is open, ms.
        wall_ms: Elapsed time until the first session is open, ms.
        run_ms: Elapsed time of the second run of the first session, on one thread, ms.
        resident_mb: RSS that opening and running the first session adds, MB.
        proportional_mb: PSS that it adds, MB.
        second_cpu_ms: CPU time until the second session is open, ms.
        second_mb: PSS that opening and running the second session adds, MB.
    """

    cpu_ms: float
    wall_ms: float
    run_ms: float
    resident_mb: float
    proportional_mb: float
    second_cpu_ms: float
    second_mb: float


def measure(plain: Path, variant: Path | None = None, *, rounds: int = ROUNDS) -> Mapping[str, Opening]:
    """Measure the openings of each graph in turn, and return the medians by graph.

    Args:
        plain: Artifact with precision fp32 and without variants.
        variant: Artifact of the same run with a variant for this CPU; None leaves it out.
        rounds: Number of new processes for each graph.
    """
    with tempfile.TemporaryDirectory() as graphs:
        prepare_in_child(open_artifact(plain), Path(graphs))
        kinds = {PORTABLE: (plain, "-"), PREPARED: (plain, graphs), **({VARIANT: (variant, "-")} if variant else {})}
        found: dict[str, list[Opening]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, words in kinds.items():
                command = [sys.executable, "-P", "-m", "bench.function.packing", "one", *map(str, words)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found[name].append(Opening(**json.loads(done.stdout)))
    return {name: _median(openings) for name, openings in found.items()}


def open_twice(artifact: Artifact, graphs: Path | None) -> Opening:
    """Open two sessions of an artifact in this process, run each, and return the figures."""
    spec = artifact.manifest.input
    batch = np.full((1, *spec.shape[1:]), 127, spec.dtype)
    before = _memory_mb()
    session, cpu_ms, wall_ms = _timed_open(artifact, graphs, 1)
    session.answer(batch)
    start = time.perf_counter()
    session.answer(batch)
    run_ms = (time.perf_counter() - start) * 1000
    first = _memory_mb()
    second, second_cpu_ms, _ = _timed_open(artifact, graphs, os.cpu_count() or 1)
    second.answer(batch)
    return Opening(
        cpu_ms=cpu_ms,
        wall_ms=wall_ms,
        run_ms=run_ms,
        resident_mb=first[0] - before[0],
        proportional_mb=first[1] - before[1],
        second_cpu_ms=second_cpu_ms,
        second_mb=_memory_mb()[1] - first[1],
    )


def _timed_open(artifact: Artifact, graphs: Path | None, threads: int) -> tuple[Session, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    session = open_session(artifact, threads=threads, prepared=graphs)
    return session, (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def _memory_mb() -> tuple[float, float]:
    return memory_bytes(os.getpid(), "Rss") / 1e6, memory_bytes(os.getpid(), "Pss") / 1e6


def _median(openings: list[Opening]) -> Opening:
    rows = [asdict(one) for one in openings]
    return Opening(**{name: statistics.median(row[name] for row in rows) for name in rows[0]})


def main(*words: str) -> None:
    """Run the child's work (`one ARTIFACT GRAPHS`), or print the medians of `PLAIN [VARIANT]`."""
    if words[0] == "one":
        print(
            json.dumps(asdict(open_twice(open_artifact(Path(words[1])), None if words[2] == "-" else Path(words[2]))))
        )
        return
    for name, opening in measure(*map(Path, words)).items():
        print(f"{name}: " + ", ".join(f"{key} {value:.1f}" for key, value in asdict(opening).items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
