"""Graphs that were optimised and laid out once for this machine's CPU, instead of at each start of a function.

A portable fp32 graph is optimised when it is opened, and onnxruntime then copies its weights into blocks as wide as the
CPU's vectors. A prepared graph is the result, stored in a folder of this machine, so the weights are mapped from the
file. Its name holds the artifact's digest, the block layout and onnxruntime's version, so a CPU with another layout, or
another version, doesn't find it and opens the portable graph. `eaves.inference.graph_preparation` makes these graphs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from eaves.artifact import Artifact
from eaves.artifact.store import MODEL
from eaves.inference.onnxruntime import VERSION

WEIGHTS = "weights.bin"
MIN_BYTES = 4_000_000
"""Minimum size of the weights, bytes, for which a graph is prepared; smaller models open in a few milliseconds."""
CPUINFO = Path("/proc/cpuinfo")
_MAX_CPUINFO_BYTES = 16 * 1024  # a machine with many CPUs repeats the entry; the first one is enough
_log = logging.getLogger(__name__)


def detect_layout(path: Path = CPUINFO) -> str:
    """Return the block layout of onnxruntime on this CPU: `avx512`, `avx2`, or empty where it has none.

    Source: onnxruntime, core/mlas: NchwcBlockSize is 16 floats with AVX512F and 8 with AVX2.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_CPUINFO_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return "avx512" if "avx512f" in flags else "avx2" if "avx2" in flags else ""


def graph_name(artifact: Artifact, layout: str) -> str | None:
    """Return the name of the folder of an artifact's prepared graph; None if preparing would change nothing.

    int8 graphs are final, on ARM onnxruntime has no layout in blocks, and small models gain nothing.
    """
    if not artifact.manifest.optimise_on_open or not layout or artifact.weights_bytes < MIN_BYTES:
        return None
    return f"{artifact.digest}-{layout}-onnxruntime-{VERSION}"


def find_graph(folder: Path | None, artifact: Artifact, detect: Callable[[], str] = detect_layout) -> Path | None:
    """Return the file of an artifact's prepared graph; None if there is none for this CPU and this onnxruntime.

    Args:
        folder: Folder of prepared graphs; None means that there is none.
        artifact: Opened artifact.
        detect: Returns this machine's block layout; called only if the folder exists.
    """
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - a folder that can't be read is none
        return None
    name = graph_name(artifact, detect())
    return folder / name / MODEL if name is not None and os.path.isfile(folder / name / MODEL) else None  # noqa: PTH113


def discard_graph(graph: Path, reason: str) -> None:
    """Remove a prepared graph that can't be opened, or gave other outputs than the golden images', as if damaged.

    The next start opens the artifact's own graph, and the next deployment prepares the graph again.
    """
    import shutil  # a start that succeeds doesn't need it

    shutil.rmtree(graph.parent, ignore_errors=True)
    _log.warning("removed the prepared graph %s: %s (try: eaves deploy)", graph.parent, reason)
