"""SavedModel > ONNX by tf2onnx, in a fresh child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from eaves.errors import ConversionError


def export_saved_model(saved_model: Path, output: Path, *, opset: int, timeout_s: float) -> str:
    """Convert a SavedModel's `serving_default` signature.

    A child process, because tf2onnx names nodes and dimensions from process-wide counters (a second conversion in one
    process gives other bytes), because TensorFlow's memory goes with it, and because a crash there must not be one
    here.

    Args:
        saved_model: The SavedModel directory; read by path, never through Keras.
        output: ONNX file to write.
        opset: ONNX operator set.
        timeout_s: Longest run, seconds.

    Returns:
        What tf2onnx wrote to stderr: its warnings.

    Raises:
        ConversionError: When it fails, with its last words.
    """
    command = [sys.executable, "-P", "-m", "tf2onnx.convert", "--tag", "serve", "--signature_def", "serving_default"]
    command += ["--saved-model", str(saved_model), "--output", str(output), "--opset", str(opset)]
    return run_child(command, what="tf2onnx", timeout_s=timeout_s)


def run_child(command: list[str], *, what: str, timeout_s: float) -> str:
    """Run a child process to its end and return its stderr.

    Raises:
        ConversionError: When it exits non-zero, is killed or takes too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"{what} took longer than {timeout_s:.0f} s", hint="raise convert.timeout_s") from error
    if done.returncode == 0:
        return done.stderr
    last = "\n".join(line for line in done.stderr.strip().splitlines()[-8:])
    if done.returncode < 0:
        raise ConversionError(
            f"{what} was killed by signal {-done.returncode}; its last words:\n{last}",
            hint="when it is signal 9, this machine ran out of memory: convert on a larger one",
        )
    raise ConversionError(f"{what} failed with exit code {done.returncode}; its last words:\n{last}")
