"""The ONNX session, the only importer of onnxruntime on the serving side; parity and golden checks use it too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from eaves.artifact import Artifact, Variant
from eaves.artifact.targets import TARGETS, Cpu, detect_cpu
from eaves.errors import ArtifactError

Floats = npt.NDArray[np.float32]


class Session:
    """One loaded model; `run` may be called from many threads at once.

    Args:
        model: The ONNX file.
        threads: Threads within one run. Set explicitly: onnxruntime's default counts the machine's CPUs, not the quota.
        optimise: Whether onnxruntime optimises the graph on opening; False for one that conversion has optimised.

    Raises:
        ArtifactError: When onnxruntime refuses the file.
    """

    # Two options are never set. session.use_ort_model_bytes_for_initializers crashed or answered wrong from Python;
    # session.disable_prepacking doubles int8's time. No library of custom operators is ever registered either: a
    # graph that needs one is refused, since such a library is foreign code.
    def __init__(self, model: Path, *, threads: int = 1, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own kinds, which share no public root
            raise ArtifactError(
                f"onnxruntime can't load {model}: {str(error)[:300]}",
                hint="convert the run again; a graph may use operators that onnxruntime itself brings, and weights in "
                "its own folder, nothing else",
            ) from error
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Run the model.

        Args:
            batch: (N, H, W, 3), dtype as the recipe says.

        Returns:
            logits: (N, labels) float32.
            probabilities: (N, labels) float32, each row sums to 1.
        """
        logits, probabilities = self._session.run(["logits", "probabilities"], {self._input: batch})
        return logits, probabilities


def open_session(artifact: Artifact, *, threads: int = 1, detect: Callable[[], Cpu] = detect_cpu) -> Session:
    """The session of an artifact: of the variant for this CPU where there is one, else of the portable graph.

    Args:
        artifact: Opened artifact.
        threads: As in `Session`.
        detect: Tells this machine's CPU; asked only when there are variants to choose from.

    Raises:
        ArtifactError: When graph and manifest disagree.
    """
    names = {output.name for output in artifact.manifest.outputs}
    if not {"logits", "probabilities"} <= names:
        raise ArtifactError(
            f"{artifact.path}: a classifier needs the outputs logits and probabilities, it has {sorted(names)}"
        )
    variant = pick_variant(artifact.manifest.variants, detect)
    if variant is not None:
        return Session(artifact.path / variant.path, threads=threads, optimise=False)
    return Session(artifact.model_path, threads=threads, optimise=artifact.manifest.optimise_on_open)


def pick_variant(variants: Sequence[Variant], detect: Callable[[], Cpu] = detect_cpu) -> Variant | None:
    """The variant made for this CPU's block layout whose every instruction it has; the most demanding of several."""
    if not variants:
        return None
    here = detect()
    fitting = [one for one in variants if TARGETS[one.target].layout == here.layout and here.runs(one.target)]
    return max(fitting, key=lambda one: len(TARGETS[one.target].flags), default=None)
