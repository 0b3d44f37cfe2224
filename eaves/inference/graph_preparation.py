"""Preparation of an artifact's graph for this machine, in the child process that replays its golden images.

The graph gets its name only after each golden image was reproduced with it, so a function
never finds a graph with other outputs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from eaves.artifact import Artifact, check
from eaves.artifact.store import MODEL
from eaves.base.files import make_directory, rename_durably
from eaves.base.locks import locked
from eaves.errors import ArtifactError
from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from eaves.inference.prepared_graphs import WEIGHTS, detect_layout, find_graph, graph_name
from eaves.inference.session import Session

_STAGING = ".staging-"
_INLINE_BYTES = "1024"


def prepare_graph(artifact: Artifact, folder: Path, *, detect: Callable[[], str] = detect_layout) -> Path | None:
    """Prepare an artifact's graph for this machine in the current process, and return the graph's folder.

    Returns:
        The new folder; None if the graph is there already, or preparing would change nothing.

    Raises:
        ArtifactError: When onnxruntime refuses the graph, or the prepared graph doesn't reproduce a golden image.
        OSError: When the folder can't be written.
    """
    make_directory(folder)
    name = graph_name(artifact, detect())
    with locked(folder / ".lock"):
        if name is None or find_graph(folder, artifact, detect):
            return None
        for left in folder.glob(f"{_STAGING}*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
        try:
            _write(artifact, staging / MODEL)
            check(artifact, Session(staging / MODEL, optimise=False).attempt)
            shutil.rmtree(folder / name, ignore_errors=True)  # one without its graph
            rename_durably(staging, folder / name)
            for old in folder.glob(f"{name.rpartition('-')[0]}-*"):  # of other versions of onnxruntime
                if old.name != name:
                    shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder / name


def _write(artifact: Artifact, path: Path) -> None:
    """Open the portable graph as a function does, and store the graph that results."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", _INLINE_BYTES)
    try:
        InferenceSession(str(artifact.model_path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own exceptions, which have no public base class
        raise ArtifactError(f"onnxruntime can't optimise {artifact.model_path}: {str(error)[:300]}") from error
