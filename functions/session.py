"""The ONNX session, the only importer of onnxruntime on the serving side; parity and golden checks use it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from eaves.artifact import Artifact
from eaves.errors import ArtifactError

Floats = npt.NDArray[np.float32]


class Session:
    """One loaded model; `run` may be called from many threads at once.

    Args:
        model: The ONNX file.
        threads: Threads within one run. Set explicitly: onnxruntime's default counts the machine's CPUs, not the quota.

    Raises:
        ArtifactError: When onnxruntime refuses the file.
    """

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own kinds, which share no public root
            raise ArtifactError(
                f"onnxruntime can't load {model}: {str(error)[:300]}", hint="convert the run again"
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

    def logits(self, batch: npt.NDArray[Any]) -> Floats:
        """Only the logits, (N, labels) float32: what parity and golden checks compare."""
        return self.run(batch)[0]


def open_session(artifact: Artifact, *, threads: int = 1) -> Session:
    """The session of an artifact, with the outputs checked against its manifest.

    Raises:
        ArtifactError: When graph and manifest disagree.
    """
    names = {output.name for output in artifact.manifest.outputs}
    if not {"logits", "probabilities"} <= names:
        raise ArtifactError(
            f"{artifact.path}: a classifier needs the outputs logits and probabilities, it has {sorted(names)}"
        )
    return Session(artifact.model_path, threads=threads)
