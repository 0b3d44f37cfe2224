"""Graphs that were optimised and laid out once for this machine's CPU, instead of at each start of a function.

A portable fp32 graph is optimised when it is opened, and onnxruntime then copies its weights into blocks as wide as the
CPU's vectors. A prepared graph is the result, stored in a folder of this machine, so the weights are mapped from the
file. Its name holds the artifact's digest, the block layout and onnxruntime's version, so a CPU with another layout, or
another version, doesn't find it and opens the portable graph. `eaves.inference.graph_preparation` makes these graphs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eaves.artifact import Artifact
from eaves.artifact.manifest import FileEntry
from eaves.artifact.store import MODEL, check_file, file_digest
from eaves.errors import ArtifactError
from eaves.onnxruntime import VERSION

INDEX, WEIGHTS = "files.json", "weights.bin"
FILES = (MODEL, WEIGHTS)
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
    manifest = artifact.manifest
    weights = sum(entry.size_bytes for name, entry in manifest.files.items() if name.startswith("weights/"))
    if not manifest.optimise_on_open or not layout or weights < MIN_BYTES:
        return None
    return f"{artifact.digest}-{layout}-onnxruntime-{VERSION}"


def find_graph(folder: Path | None, artifact: Artifact, detect: Callable[[], str] = detect_layout) -> Path | None:
    """Return the file of an artifact's prepared graph; None if there is none for this CPU and this onnxruntime.

    A graph that can't be read, or has missing files or other sizes, is logged and not used.

    Args:
        folder: Folder of prepared graphs; None means that there is none.
        artifact: Opened artifact.
        detect: Returns this machine's block layout; called only if the folder exists.
    """
    try:
        if folder is None or not folder.is_dir():
            return None
        name = graph_name(artifact, detect())
        if name is None or not (folder / name).is_dir():
            return None
        check_graph(folder / name)
    except (ArtifactError, OSError) as error:
        log_unused(error)
        return None
    return folder / name / MODEL


def discard_graph(folder: Path | None, artifact: Artifact) -> None:
    """Remove an artifact's prepared graph after it gave other outputs than the golden images', if there is one.

    Each start checks only the sizes of its files, so the content may be damaged. The next start opens the artifact's
    own graph.
    """
    import shutil  # a start that succeeds doesn't need it

    if (graph := find_graph(folder, artifact)) is not None:
        shutil.rmtree(graph.parent, ignore_errors=True)
        _log.warning("removed the prepared graph %s; the next start opens the artifact's own graph", graph.parent)


def log_unused(error: Exception) -> None:
    """Log why a prepared graph isn't used."""
    _log.warning("the prepared graph isn't used: %s (try: eaves deploy)", error)


def check_graph(graph: Path, *, digests: bool = False) -> None:
    """Check that the files of a prepared graph are complete.

    Args:
        graph: Folder of one prepared graph.
        digests: Whether the content is checked as well, which reads every byte.

    Raises:
        ArtifactError: When a file is missing, isn't a plain file, or has another size or content.
    """
    try:
        entries = {name: _entry(values) for name, values in json.loads((graph / INDEX).read_bytes()).items()}
        if set(entries) != set(FILES):
            raise ArtifactError(f"{graph}: {INDEX} must list {' and '.join(FILES)}")
        for name, entry in entries.items():
            check_file(graph, name, entry)
            if digests and file_digest(graph / name) != entry.sha256:
                raise ArtifactError(f"{graph}: {name} doesn't match its sha256")
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ArtifactError(f"{graph}: {INDEX} can't be read: {error!r:.200}") from error


def _entry(values: Any) -> FileEntry:
    return FileEntry(size_bytes=int(values["size_bytes"]), sha256=str(values["sha256"]))
