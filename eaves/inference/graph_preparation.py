"""Preparation of an artifact's graph for this machine, in a child process, because it runs a foreign graph.

The graph gets its name only after each golden image was reproduced with it, so a function
never finds a graph with other outputs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eaves.artifact import Artifact, check, open_artifact
from eaves.artifact.store import MODEL
from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, rename_durably
from eaves.base.locks import locked
from eaves.errors import ArtifactError, EavesError
from eaves.inference.child_process import ChildFault, run_child, run_child_main
from eaves.inference.prepared_graphs import WEIGHTS, detect_layout, find_graph, graph_name
from eaves.inference.session import Session
from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

TIMEOUT_S = 600.0
"""Time limit of the child process, seconds; Inception V3 takes 3 s."""
_STAGING = ".staging-"
_INLINE_BYTES = "1024"


def prepare_in_child(artifact: Artifact, folder: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Prepare an artifact's graph for this machine in a child process, unless it is there or would change nothing.

    Args:
        artifact: Opened artifact.
        folder: Folder of prepared graphs; it is made if it is missing.
        timeout_s: Time limit, seconds.

    Raises:
        ArtifactError: When the graph can't be prepared, or the prepared graph gives other outputs. No graph is stored,
            and functions open the artifact's own.
    """
    try:
        if _missing_graph(artifact, folder, detect_layout) is None:
            return
        job = {"artifact": str(artifact.path.absolute()), "folder": str(folder)}
        run_child("eaves.inference.graph_preparation", job, timeout_s=timeout_s)
    except ChildFault as fault:
        if fault.late:
            raise ArtifactError(f"{artifact.path}: preparing the graph took longer than {timeout_s:g} s") from fault
        raise _unprepared(artifact, f"exit {fault.code}") from fault
    except (OSError, EavesError) as error:
        raise _unprepared(artifact, str(error)) from error


def _unprepared(artifact: Artifact, reason: str) -> ArtifactError:
    return ArtifactError(f"{artifact.path}: the graph can't be prepared for this machine: {reason:.300}")


def prepare_graph(artifact: Artifact, folder: Path, *, detect: Callable[[], str] = detect_layout) -> Path | None:
    """Prepare an artifact's graph for this machine in the current process, and return the graph's folder.

    Returns:
        The new folder; None if the graph is there already, or preparing would change nothing.

    Raises:
        ArtifactError: When onnxruntime refuses the graph, or the prepared graph doesn't reproduce a golden image.
        OSError: When the folder can't be written.
    """
    make_directory(folder)
    with locked(folder / ".lock"):
        name = _missing_graph(artifact, folder, detect)
        return None if name is None else _prepare(artifact, folder, name)


def _prepare(artifact: Artifact, folder: Path, name: str) -> Path:
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


def _missing_graph(artifact: Artifact, folder: Path, detect: Callable[[], str]) -> str | None:
    """Return the name of the graph to prepare; None if it is there, or would change nothing."""
    return None if find_graph(folder, artifact, detect) else graph_name(artifact, detect())


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


def _work(job: Mapping[str, Any]) -> list[None]:
    folder = Path(job["folder"])
    with disk_errors(folder):
        prepare_graph(open_artifact(Path(job["artifact"])), folder)
    return [None]


if __name__ == "__main__":
    run_child_main(_work)
