"""The ONNX session, the only serving module that uses onnxruntime; parity and golden checks use it too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from eaves.artifact import Artifact, Manifest, TensorSpec
from eaves.artifact.manifest import OUTPUTS, TENSOR
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
                f"{model}: a model must have one input; this graph has {_describe(inputs)}",
                hint="convert the run again",
            )
        self.maps_weights = not optimise
        self._model = model
        self._input = inputs[0].name
        self._names = sorted(value.name for value in self._session.get_outputs())

    def check(self, manifest: Manifest) -> None:
        """Check that the graph matches the manifest.

        Raises:
            ArtifactError: When they differ: requests would fail, or get another label.
        """
        (given,) = self._session.get_inputs()
        found = {value.name: value for value in self._session.get_outputs()}
        wanted = [*manifest.outputs]
        if manifest.task != TENSOR:
            names = sorted(output.name for output in manifest.outputs)
            if not set(OUTPUTS) <= set(names):
                raise ArtifactError(
                    f"{self._model}: a classifier must have the outputs logits and probabilities; "
                    f"the manifest lists {names!s:.200}",
                    hint="convert the run again",
                )
            wanted += [TensorSpec(name=name, shape=(-1, len(manifest.labels))) for name in OUTPUTS]
        for kind, value, want in [
            ("input", given, manifest.input),
            *(("output", found.get(want.name), want) for want in wanted),
        ]:
            if value is None or _dtype(value) != want.dtype or not _same_shape(value.shape, want.shape):
                described = _describe(found.values() if value is None else [value])
                raise ArtifactError(
                    f"{self._model}: the {kind} {want.name!r:.60} is {described}, but the manifest says "
                    f"{want.dtype} {list(want.shape)}",
                    hint="convert the run again",
                )

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
        artifact: Opened artifact.
        threads: Threads within one run, see `Session`.
        detect: Returns this machine's block layout; called only when there are prepared graphs.
        prepared: Folder of graphs that this machine has prepared, see `eaves.inference.prepared_graphs`; None means
            that there is none.

    Raises:
        ArtifactError: When graph and manifest differ.
    """
    final = find_graph(prepared, artifact, detect)
    try:
        return _open(artifact, threads, final)
    except ArtifactError as error:
        if final is None:
            raise
        discard_graph(final, error.message)
        return _open(artifact, threads, None)


def _open(artifact: Artifact, threads: int, final: Path | None) -> Session:
    manifest = artifact.manifest
    session = Session(
        final or artifact.model_path,
        threads=threads,
        optimise=manifest.optimise_on_open and final is None,
    )
    session.check(manifest)
    return session


def _dtype(value: Any) -> str:
    """Return numpy's name of a graph's type; onnxruntime uses C++ names."""
    name = str(value.type).removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _same_shape(found: Sequence[int | str | None], wanted: Sequence[int]) -> bool:
    """Return whether two shapes agree on every axis that has a size in both; a free axis has a name, None or -1."""
    return len(found) == len(wanted) and all(
        want in (size, -1) or not isinstance(size, int) for size, want in zip(found, wanted, strict=True)
    )


def _describe(values: Iterable[Any]) -> str:
    described = ", ".join(f"{value.name!r:.60} {_dtype(value):.20} {value.shape!s:.60}" for value in values)
    return described[:300] or "(none)"
