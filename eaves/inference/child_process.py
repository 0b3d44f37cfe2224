"""Runs work on foreign models in child processes, which may crash, hang, use much memory, or run code of a handler.py.

A child is `python -P -m MODULE`. It reads its job as JSON from stdin, and writes one JSON object per line to a copy of
its stdout: a result, or the error that ended it. All else that it prints goes to stderr. The parent reads no more than
these lines, with a limit on time and bytes. `run_child` is the parent's side; a child's `__main__` calls
`run_child_main`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from eaves import errors
from eaves.errors import EavesError, HandlerError

MAX_LINE_BYTES = 65536
"""Maximum size of a line of results; a golden case has about 500 bytes."""
GRACE_S = 5.0
"""Seconds that a child has to end after its results did, if they are too few or too many."""
PR_SET_PDEATHSIG = 1
"""Option of prctl that makes Linux send a process a signal when its parent process ends. Source: linux/prctl.h."""


@dataclass(eq=False, kw_only=True)
class ChildFault(Exception):  # noqa: N818 - it is never raised to a person
    """A child took too long, or ended before it had written all results.

    Attributes:
        late: Whether it took too long.
        results: Number of results that it wrote.
        code: Exit code; negative after a signal.
        words: What it wrote to stderr, if that was kept.
    """

    late: bool
    results: int
    code: int
    words: str


def run_child(
    module: str,
    job: Mapping[str, Any],
    *,
    results: int = 1,
    timeout_s: float,
    keep_words: bool = True,
    on_result: Callable[[int], object] = lambda count: None,
) -> list[Any]:
    """Run a child, and return its results, which code of a handler.py may have written.

    Args:
        module: Name of the module, whose `__main__` part calls `run_child_main`.
        job: Input of the child as plain data.
        results: Number of results that the child must write.
        timeout_s: Time limit, seconds.
        keep_words: Whether stderr is kept for `ChildFault.words`; otherwise it is that of this process.
        on_result: Called with the number of results since the last call; an exception that it raises ends the child.

    Raises:
        ChildFault: The child takes too long, or ends early, or writes something else.
        EavesError: The error that the child's work raised.
    """
    found: list[Any] = []
    late = threading.Event()
    with tempfile.TemporaryFile() as words:
        # A new session, so that one signal also ends the processes that a handler started.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words if keep_words else None,
            start_new_session=True,
        )

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they are pipes
        try:
            with suppress(BrokenPipeError), process.stdin:
                timer.start()  # in the block that ends it: Ctrl-C may come at any line
                process.stdin.write(json.dumps(job).encode())
            while len(found) <= results and (line := process.stdout.readline(MAX_LINE_BYTES)):
                try:
                    found.append(_parse_result(line))
                except (ValueError, TypeError, KeyError, RecursionError):
                    found = []
                    _kill(process)
                    break
                on_result(1)
            with suppress(subprocess.TimeoutExpired):  # the exit code of a child that failed says why
                process.wait(None if len(found) == results else GRACE_S)
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
            process.stdout.close()
        words.seek(0)
        if late.is_set() or len(found) != results:
            text = words.read().decode(errors="replace")
            raise ChildFault(late=late.is_set(), results=len(found), code=process.returncode, words=text)
    return found


def _parse_result(line: bytes) -> Any:
    """Return the result in a line, or raise the error in it; another exception means that it holds neither."""
    answer = json.loads(line)
    if "error" in answer:
        kind, message, hint = (answer["error"][name] for name in ("kind", "message", "hint"))
        known = getattr(errors, kind, HandlerError)
        usable = isinstance(known, type) and issubclass(known, EavesError) and known is not errors.ConfigError
        raise (known if usable else HandlerError)(str(message), hint=hint and str(hint))
    return answer["result"]


def run_child_main(work: Callable[[Any], Iterable[Any]]) -> None:
    """Main function of a child: read the job, and write each result of the work, or the EavesError that it raises."""
    _die_with_parent()
    job = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answer:
        os.dup2(2, 1)  # before a handler is loaded: what it prints goes to stderr
        try:
            for result in work(job):
                answer.write(json.dumps({"result": result}) + "\n")
        except EavesError as error:
            report = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
            answer.write(json.dumps({"error": report}) + "\n")
            sys.exit(error.exit_code)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """Make Linux kill this process when its parent process ends, even if the parent is killed by SIGKILL."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
