"""Replay of every golden case in a child process: `python -P -m eaves.inference.replay ARTIFACT`.

The child process runs the foreign graph, and handler.py when requested. Whatever the graph and the handler do to the
child process, the command that verifies only reads the child's output, with a limit on time and bytes. The child writes
one JSON object per line; the handler's own output goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from eaves import errors
from eaves.artifact import Artifact, GoldenResult, load_golden, open_artifact, replay
from eaves.errors import ArtifactError, EavesError, HandlerError
from eaves.inference.handler import Handler, load_handler
from eaves.inference.session import open_session

TIMEOUT_S = 600.0
"""Time limit for all cases together, seconds; a graph or a handler that hangs must not hang its caller."""
MAX_LINE_BYTES = 65536
"""Maximum size of a line in a child's output; a case has about 500 bytes."""
RUN_HANDLER = "--run-handler"

_FIELDS = {field.name: {"str": str, "float": float}[str(field.type)] for field in fields(GoldenResult)}


def replay_all(artifact: Artifact, *, run_handler: bool = False) -> Iterator[GoldenResult]:
    """Replay every golden case in the current process.

    Args:
        artifact: Opened artifact.
        run_handler: Whether handler.py makes the inputs and processes the outputs; otherwise the recipe makes the
            inputs, or they are the stored tensors.

    Raises:
        ArtifactError: When there are no golden cases, or onnxruntime refuses the graph.
        HandlerError: When the handler fails.
    """
    handler = load_handler(artifact) if run_handler else Handler()
    session = open_session(artifact)
    for case in load_golden(artifact):
        yield replay(artifact, handler.follow(session.attempt), case, prepare=handler.preprocess)


def replay_in_child(
    artifact: Artifact,
    *,
    run_handler: bool = False,
    on_case: Callable[[int], object] = lambda count: None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[GoldenResult, ...]:
    """Run `replay_all` in a child process.

    Args:
        artifact: Opened artifact.
        run_handler: Whether handler.py is run, see `replay_all`.
        on_case: Called with the number of cases that were replayed since the last call.
        timeout_s: Time limit for all cases, seconds.

    Raises:
        HandlerError: When the handler is run and fails, ends the process or exceeds the time limit.
        ArtifactError: When the handler isn't run and the child process crashes or exceeds the time limit, or for the
            reasons of `replay_all`.
        EavesError: When the child raised another error of Eaves.
    """
    expected = [case.file for case in load_golden(artifact)]
    if not expected:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    command = [sys.executable, "-P", "-m", "eaves.inference.replay", str(artifact.path.absolute())]
    # A new session, so that one signal also ends the processes that the handler started.
    process = subprocess.Popen(
        [*command, *([RUN_HANDLER] if run_handler else [])], stdout=subprocess.PIPE, start_new_session=True
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(timeout_s, end)
    timer.start()
    results: list[GoldenResult] = []
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while len(results) <= len(expected) and (line := process.stdout.readline(MAX_LINE_BYTES)):
            results.append(_parse(line))
            on_case(1)
        if len(results) == len(expected):
            process.wait()
    except (ValueError, TypeError, KeyError, RecursionError):
        results = []
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        if process.stdout:
            process.stdout.close()
    if late.is_set():
        raise _fault(artifact, f"took longer than {timeout_s:g} s", run_handler=run_handler)
    if [result.file for result in results] != expected:
        what = f"ended the process that replays the golden images after {len(results)} of {len(expected)}"
        raise _fault(artifact, f"{what} (exit {process.returncode})", run_handler=run_handler)
    return tuple(results)


def main(path: str, *options: str) -> int:
    """Run the child's work: write each result, or the error, as JSON to the real stdout."""
    run_handler = RUN_HANDLER in options
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answer:
        os.dup2(2, 1)  # before the handler is loaded: what it prints goes to stderr
        try:
            artifact = open_artifact(Path(path), level="full" if run_handler else "structure")
            for result in replay_all(artifact, run_handler=run_handler):
                answer.write(json.dumps({"result": asdict(result)}) + "\n")
        except EavesError as error:
            found = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
            answer.write(json.dumps({"error": found}) + "\n")
            return error.exit_code
    return 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _parse(line: bytes) -> GoldenResult:
    """Parse a line of the child's output and check its types, because handler.py may have written the line.

    Raises:
        EavesError: When the line holds an error that the child raised.
    """
    answer = json.loads(line)
    if "error" in answer:
        raise _error(**answer["error"])
    values: dict[str, Any] = {name: kind(answer["result"][name]) for name, kind in _FIELDS.items()}
    return GoldenResult(**values)


def _fault(artifact: Artifact, what: str, *, run_handler: bool) -> EavesError:
    if run_handler:
        return HandlerError(f"handler.py {what}", hint="correct handler.py, then convert the run again")
    return ArtifactError(f"{artifact.path}: the graph {what}", hint="convert the run again")


def _error(kind: str, message: str, hint: str | None) -> EavesError:
    found = getattr(errors, kind, HandlerError)
    usable = isinstance(found, type) and issubclass(found, EavesError) and found is not errors.ConfigError
    return (found if usable else HandlerError)(str(message), hint=hint and str(hint))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(*sys.argv[1:]))
