"""The ONNX session, which parity and golden checks use too, and the pool of a function's sessions.

A function has a wide session, whose threads share each run, and one of a single thread per run. A request that is
alone gets every CPU. When there are as many requests as CPUs, each gets one thread, because threads that divide a run
cost more processor time than one thread. onnxruntime fixes a session's threads when the session is opened, so the two
ways need two sessions. The wide session is opened first; the other one is opened in the background when predictions
first overlap, so a function that gets one request at a time never has it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from eaves.artifact import Artifact
from eaves.errors import ArtifactError, EavesError
from eaves.inference.onnxruntime import GraphOptimizationLevel, InferenceSession, RunOptions, SessionOptions
from eaves.inference.prepared_graphs import detect_layout, discard_graph, find_graph

SPIN_US = "10"
"""Microseconds that a thread without work spins within a run before it sleeps."""


class Session:
    """One loaded model; several threads may call `answer` at once.

    Args:
        model: Path of the ONNX file.
        threads: Threads within one run. It is set explicitly because onnxruntime's default counts the machine's CPUs
            instead of the container's quota.
        optimise: Whether onnxruntime optimises the graph on opening; False for a graph that the conversion has
            optimised.
        graph: Content of the graph in place of the file's; its weights are beside the file.

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
    def __init__(self, model: Path, *, threads: int = 1, optimise: bool = True, graph: bytes = b"") -> None:
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
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
        levels = GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
        try:
            self._session = InferenceSession(graph or str(model), options, providers=["CPUExecutionProvider"])
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


MEMORY_SHARE = 0.25
"""Maximum share of the process's memory limit that the second session may take."""
ACTIVATION_BYTES = 60_000_000
"""Memory that a second session takes besides weights, bytes. Measured for Inception V3 in int8 with two predictions at
the same time: 57 MB."""
OPENING_NICENESS = 10
"""Niceness of the thread that opens the second session, so that opening delays no prediction much."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPlan:
    """Choice of sessions and threads.

    Attributes:
        threads: Threads of the session that is opened first.
        wide_runs: Maximum number of concurrent predictions that all run in the first session.
        second: Whether a session of one thread per run is opened when more predictions than `wide_runs` overlap.
    """

    threads: int
    wide_runs: int
    second: bool


def plan_threads(*, cpus: int, concurrency: int, own_bytes: int, memory_bytes: int, limit: int = 0) -> ThreadPlan:
    """Choose the sessions of one process.

    Up to half as many predictions as CPUs share the first session, whose threads would otherwise leave CPUs idle. When
    the second session is needed and doesn't fit, the only session has one thread per run, which gives the most
    predictions per second.

    Args:
        cpus: Number of usable CPUs.
        concurrency: Maximum number of concurrent predictions.
        own_bytes: Memory that a second session takes for weights, bytes.
        memory_bytes: Memory limit of the process, bytes.
        limit: Maximum number of threads of one prediction; 0 means one for each CPU.
    """
    threads, wide_runs = limit or cpus, max(1, cpus // 2)
    fits = ACTIVATION_BYTES + own_bytes <= MEMORY_SHARE * memory_bytes
    if threads == 1 or (concurrency > wide_runs and not fits):
        return ThreadPlan(threads=1, wide_runs=concurrency, second=False)
    return ThreadPlan(threads=threads, wide_runs=wide_runs, second=concurrency > wide_runs)


class ActivePredictions:
    """Number of predictions that run or wait for their turn; safe to use from many threads.

    Those that wait count too: when one prediction ends, the next one begins at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count one prediction until the end of the block; its turn and its decoding are within the block."""
        with self._lock:
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1


class SessionPool:
    """Runs each batch in the session that suits the number of concurrent predictions; safe to call from many threads.

    Args:
        first: The session that is opened first.
        plan: The choice of sessions.
        active: Counter of the predictions that run or wait.
    """

    def __init__(self, first: Session, plan: ThreadPlan, active: ActivePredictions) -> None:
        self._first = first
        self._second: Session | None = None
        self._plan = plan
        self._active = active
        self._open: Callable[[], Session] | None = None
        self._lock = threading.Lock()

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        """Run any model and return every output by name, each (N, ...)."""
        if self._active.count <= self._plan.wide_runs or not self._plan.second:
            return self._first.answer(batch)
        if self._second is None:
            self._begin_opening()
        return (self._second or self._first).answer(batch)

    def allow_second(self, open_checked: Callable[[], Session]) -> None:
        """Allow the pool to open its second session, once the first one is ready.

        Args:
            open_checked: Opens the session and checks that it reproduces a golden case; called at most once.
        """
        self._open = open_checked

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return 1 if self._second is None else 2

    @property
    def threads(self) -> int:
        """Number of threads of a prediction that runs alone."""
        return self._plan.threads

    def _begin_opening(self) -> None:
        with self._lock:
            open_checked, self._open = self._open, None
        if open_checked is None:
            return
        try:
            threading.Thread(target=self._open_second, args=(open_checked,), name="second", daemon=True).start()
        except RuntimeError as error:  # the process may have no more threads; the prediction needs none
            _log.error("the session of one thread per run isn't used: %s", error)

    def _open_second(self, open_checked: Callable[[], Session]) -> None:
        with suppress(OSError, AttributeError):  # Linux sets the niceness of one thread; elsewhere it stays
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), OPENING_NICENESS)
        start = time.perf_counter()
        try:
            self._second = open_checked()
        except EavesError as error:
            _log.error("the session of one thread per run isn't used: %s", error.message)
        except Exception:  # noqa: BLE001 - the first session still serves
            _log.exception("the session of one thread per run isn't used")
        else:
            duration_ms = (time.perf_counter() - start) * 1000
            _log.info("predictions overlap: opened the session of one thread per run in %.0f ms", duration_ms)


Runner = Session | SessionPool
"""Something that runs a model: one session, or a pool of sessions."""
