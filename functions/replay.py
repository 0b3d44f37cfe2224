"""Replaying every golden case, here or in a child process: `python -P -m functions.replay ARTIFACT`.

The child is where handler.py runs, from encoded bytes, so that a command which only verifies never imports it. It
prints one JSON document; whatever the handler prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from eaves import errors
from eaves.artifact import Artifact, GoldenResult, load_golden, open_artifact, replay
from eaves.errors import ArtifactError, EavesError, HandlerError
from functions.handler import load_handler
from functions.session import open_session

TIMEOUT_S = 600.0
"""For all cases together; a handler that hangs must not hang its caller."""


def replay_all(
    artifact: Artifact, *, run_handler: bool = False, on_case: Callable[[GoldenResult], object] = lambda result: None
) -> tuple[GoldenResult, ...]:
    """Replay every golden case through the session that serves.

    Args:
        artifact: Opened artifact.
        run_handler: Whether handler.py makes the inputs, in this very process; else the recipe, or the stored tensors.
        on_case: Told of each result.

    Raises:
        ArtifactError: When there are none, or onnxruntime refuses the graph.
        HandlerError: When the handler fails.
    """
    session = open_session(artifact)
    handler = load_handler(artifact) if run_handler else None
    cases = load_golden(artifact)
    if not cases:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    results = []
    for case in cases:
        prepare = handler.preprocess if handler else None
        results.append(replay(artifact, session.run, case, prepare=prepare))
        on_case(results[-1])
    return tuple(results)


def replay_in_child(path: Path, *, timeout_s: float = TIMEOUT_S) -> tuple[GoldenResult, ...]:
    """`replay_all` with the handler, in a child process.

    Args:
        path: The artifact's directory.
        timeout_s: Seconds for all of it.

    Raises:
        HandlerError: When the handler fails, ends the process or takes too long.
        EavesError: Whatever else the child raised.
    """
    command = [sys.executable, "-P", "-m", "functions.replay", str(path.absolute())]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise HandlerError(f"handler.py took longer than {timeout_s:g} s", hint="mend handler.py") from error
    try:
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise _error(**answer["error"])
        return tuple(GoldenResult(**values) for values in answer["results"])
    except (ValueError, TypeError, KeyError) as error:
        raise HandlerError(
            f"handler.py ended the process that replays the goldens (exit {done.returncode})", hint="mend handler.py"
        ) from error


def main(path: str) -> int:
    """The child's work: results or the error as JSON on the real stdout."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # before the handler is loaded: what it prints is talk
        try:
            artifact = open_artifact(Path(path), level="full")
            results = replay_all(artifact, run_handler=True)
            json.dump({"results": [asdict(result) for result in results]}, answer)
        except EavesError as error:
            found = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
            json.dump({"error": found}, answer)
            return error.exit_code
    return 0


def _error(kind: str, message: str, hint: str | None) -> EavesError:
    found = getattr(errors, kind, HandlerError)
    usable = isinstance(found, type) and issubclass(found, EavesError) and found is not errors.ConfigError
    return (found if usable else HandlerError)(message, hint=hint)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(*sys.argv[1:]))
