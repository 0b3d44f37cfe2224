"""Runs work in child processes with a limit on time, and turns failures of the processes into errors.

A child process frees TensorFlow's memory when it ends, starts its libraries' counters from 0, and contains a crash.
`run_child` is the parent's side; a child's `__main__` calls `run_child_main`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eaves.errors import ConversionError, EavesError

PR_SET_PDEATHSIG = 1
"""Option of prctl that makes Linux send a process a signal when its parent process ends. Source: linux/prctl.h."""


def run_child(module: str, job: Mapping[str, Any], *, what: str, timeout_s: float) -> dict[str, Any]:
    """Run `python -P -m module` to its end, with the job as JSON on stdin, and return the result of its work.

    Args:
        module: Name of the module, whose `__main__` part calls `run_child_main`.
        job: Input of the child as plain data.
        what: Name of the child process in error messages.
        timeout_s: Maximum run time in seconds.

    Raises:
        ConversionError: The child reports an error, exits non-zero, is killed, or takes too long.
    """
    with TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", module, str(facts)],
                input=json.dumps(job),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConversionError(
                f"{what} was stopped: it took longer than convert.timeout_s ({timeout_s:.0f} s)",
                hint="raise convert.timeout_s",
            ) from error
        found = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    if "error" in found:
        raise ConversionError(found["error"], hint=found.get("hint"))
    if done.returncode or "result" not in found:  # a handler that the child runs may end the process
        raise _crash(what, done.returncode, done.stderr)
    result: dict[str, Any] = found["result"]
    return result


def run_child_main(work: Callable[[Any], Mapping[str, Any]]) -> None:
    """Main function of a child: read the job, run the work, write its result.

    An EavesError that the work raises becomes a ConversionError in the parent's `run_child`.
    """
    facts = Path(sys.argv[1])
    _die_with_parent()
    try:
        result = dict(work(json.load(sys.stdin)))
    except EavesError as error:
        facts.write_text(json.dumps({"error": error.message, "hint": error.hint}), encoding="utf-8")
        sys.exit(error.exit_code)
    facts.write_text(json.dumps({"result": result}), encoding="utf-8")


def _crash(what: str, code: int, words: str) -> ConversionError:
    last = "\n".join(words.strip().splitlines()[-8:])
    if code >= 0:
        return ConversionError(f"{what} failed with exit code {code}; the end of its output:\n{last}")
    return ConversionError(
        f"{what} was killed by signal {-code}; the end of its output:\n{last}",
        hint="if the signal is 9, this machine ran out of memory: convert on a machine with more memory",
    )


def _die_with_parent() -> None:
    """Make Linux kill this process when its parent process ends, even if the parent is killed by SIGKILL."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the conversion that started this process has ended")
