"""The ONNX session, the only serving module that uses onnxruntime; parity and golden checks use it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from eaves.artifact import Artifact
from eaves.artifact.manifest import OUTPUTS
from eaves.errors import ArtifactError
from eaves.inference.prepared_graphs import detect_layout, discard_graph, find_graph
from eaves.onnxruntime import GraphOptimizationLevel, InferenceSession, RunOptions, SessionOptions

Floats = npt.NDArray[np.float32]
SPIN_US = "10"
"""Microseconds that a thread without work spins within a run before it sleeps."""


class Runner(Protocol):
    """Something that runs a model: one session, or a pool of sessions."""

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        """Run any model and return every output by name, each (N, ...)."""


class Session:
    """One loaded model; several threads may call `run` at once.

    Args:
        model: Path of the ONNX file.
        threads: Threads within one run. It is set explicitly because onnxruntime's default counts the machine's CPUs
            instead of the container's quota.
        optimise: Whether onnxruntime optimises the graph on opening; False for a graph that the conversion has
            optimised.

    Attributes:
        maps_weights: Whether the session uses the weights as they are in the file, which the kernel maps once. A second
            session of the same graph then needs memory for its activations only: 17 MB instead of 106 MB for Inception
            V3 in fp32. False if onnxruntime copies the weights while it optimises the graph.

    Raises:
        ArtifactError: When onnxruntime refuses the file, or the graph doesn't have one input.
    """

    # Two options are never set: session.use_ort_model_bytes_for_initializers crashed or gave wrong outputs from Python,
    # and session.disable_prepacking doubles the run time of int8. No library of custom operators is ever registered,
    # because such a library is foreign code; a graph that needs one is refused.
    def __init__(self, model: Path, *, threads: int = 1, optimise: bool = True) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that waits a little for a run's next operator before it sleeps saves 9 % of a run of a small network
        # (int8: 11 %). onnxruntime's own wait is longer and doesn't end with the run: it takes CPU time from other runs
        # and processes, and on a busy machine a run takes 1.5 times as long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        levels = GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
        try:
            self._session = InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own exceptions, which have no public base class
            raise ArtifactError(
                f"onnxruntime can't load {model}: {str(error)[:300]}",
                hint="convert the run again; a graph may use only onnxruntime's built-in "
                "operators, and weights in the artifact's own folder",
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ArtifactError(
                f"{model}: a model must have one input; this graph has {len(inputs)}",
                hint="convert the run again",
            )
        self.maps_weights = not optimise
        self._model = model
        self._input = inputs[0].name
        self._names = sorted(value.name for value in self._session.get_outputs())

    def run(self, batch: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Run a model that takes images.

        Args:
            batch: (N, H, W, 3), in the recipe's dtype.

        Returns:
            logits: (N, labels) float32.
            probabilities: (N, labels) float32, each row sums to 1.
        """
        logits, probabilities = self._session.run(OUTPUTS, {self._input: batch})
        return logits, probabilities

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        """Run any model and return every output by name, each (N, ...)."""
        return dict(zip(self._names, self._session.run(self._names, {self._input: batch}), strict=True))

    def attempt(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        """Run a graph that may be faulty, because it was not tested yet; a failure is reported as the artifact's fault.

        The memory that only this run needed is freed: a function's golden check runs beside its first request, and no
        later request would need the memory of both.


        Raises:
            ArtifactError: When onnxruntime can't run the graph on this batch.
        """
        try:
            options = RunOptions()
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            outputs = self._session.run(self._names, {self._input: batch}, options)
            return dict(zip(self._names, outputs, strict=True))
        except Exception as error:  # onnxruntime raises its own exceptions, which have no public base class
            raise ArtifactError(
                f"onnxruntime can't run {self._model} on {batch.dtype} {batch.shape}: {str(error)[:300]}",
                hint="convert the run again",
            ) from error


def open_session(
    artifact: Artifact,
    *,
    threads: int = 1,
    detect: Callable[[], str] = detect_layout,
    prepared: Path | None = None,
) -> Session:
    """Open a session with the graph that this machine has prepared, else with the artifact's own.

    A prepared graph that can't be opened is removed, and the artifact's own is opened.

    Args:
        artifact: Opened artifact; its golden images show whether the graph fits the manifest.
        threads: Threads within one run, see `Session`.
        detect: Returns this machine's block layout; called only when there are prepared graphs.
        prepared: Folder of graphs that this machine has prepared, see `eaves.inference.prepared_graphs`; None means
            that there is none.

    Raises:
        ArtifactError: When onnxruntime refuses the graph.
    """
    if (final := find_graph(prepared, artifact, detect)) is not None:
        try:
            return Session(final, threads=threads, optimise=False)
        except ArtifactError as error:
            discard_graph(final, error.message)
    return Session(artifact.model_path, threads=threads, optimise=artifact.manifest.optimise_on_open)
