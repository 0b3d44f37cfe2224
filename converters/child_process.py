"""Runs work in child processes with limits on time and memory, and turns failures of the processes into errors.

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
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.errors import ConversionError, EavesError

POLL_S = 0.05
PR_SET_PDEATHSIG = 1
"""Option of prctl that makes Linux send a process a signal when its parent process ends. Source: linux/prctl.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """Limits of a child process.

    Attributes:
        timeout_s: Maximum run time in seconds.
        memory_limit_mb: Maximum resident memory in MB (10^6 bytes); 0 means no limit.
    """

    timeout_s: float
    memory_limit_mb: int = 0


def run_child(module: str, job: Mapping[str, Any], facts: Path, *, what: str, limits: ChildLimits) -> dict[str, Any]:
    """Run `python -P -m module` to its end, with the job as JSON on stdin.

    Args:
        module: Name of the module, whose `__main__` part calls `run_child_main`.
        job: Input of the child as plain data.
        facts: File that the child writes its result to.
        what: Name of the child process in error messages.
        limits: Limits of time and memory.

    Returns:
        The result of the child's work, with `peak_bytes`, its maximum resident memory.

    Raises:
        ConversionError: The child reports an error, exits non-zero, is killed, or exceeds its limits.
    """
    facts.unlink(missing_ok=True)
    # The job is in a file: a `communicate` that timed out before it had written to a pipe never writes the rest.
    # Source: CPython 3.11 to 3.13, subprocess.Popen._communicate, which sends the argument and not what it has saved.
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(facts)],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    with child:
        try:
            words = _watch(child, what, limits)
        finally:
            child.kill()  # ends the child after any interruption, such as Ctrl-C; does nothing when it has ended
    result: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    if "error" in result:
        raise ConversionError(result["error"], hint=result.get("hint"))
    if child.returncode or not result:  # a handler that the child runs may end the process
        raise _crash(what, child.returncode, words)
    return result


def run_child_main(work: Callable[[Any], Mapping[str, Any]]) -> None:
    """Main function of a child: read the job, run the work, write its result.

    Args:
        work: Function from the job to its result. An EavesError that it raises becomes a ConversionError in the
            parent's `run_child`.
    """
    facts = Path(sys.argv[1])
    _die_with_parent()
    try:
        result = dict(work(json.load(sys.stdin)))
    except EavesError as error:
        facts.write_text(json.dumps({"error": error.message, "hint": error.hint}), encoding="utf-8")
        sys.exit(error.exit_code)
    # getrusage's ru_maxrss is not used: Linux keeps it over exec, so it starts at the parent's value.
    result["peak_bytes"] = _peak_bytes(os.getpid())
    facts.write_text(json.dumps(result), encoding="utf-8")


def _watch(child: subprocess.Popen[str], what: str, limits: ChildLimits) -> str:
    """Wait for the child and return its stderr."""
    deadline = time.monotonic() + limits.timeout_s
    while True:
        with suppress(subprocess.TimeoutExpired):  # communicate keeps the output that it has read
            return child.communicate(timeout=POLL_S)[1]
        peak_mb = _peak_bytes(child.pid) / 1e6
        if limits.memory_limit_mb and peak_mb > limits.memory_limit_mb:
            raise ConversionError(
                f"{what} was stopped: it used {peak_mb:.0f} MB of memory, which is more than "
                f"convert.memory_limit_mb ({limits.memory_limit_mb})",
                hint="raise convert.memory_limit_mb, or convert on a larger machine",
            )
        if time.monotonic() > deadline:
            raise ConversionError(
                f"{what} was stopped: it took longer than convert.timeout_s ({limits.timeout_s:.0f} s)",
                hint="raise convert.timeout_s",
            )


def _crash(what: str, code: int, words: str) -> ConversionError:
    last = "\n".join(words.strip().splitlines()[-8:])
    if code >= 0:
        return ConversionError(f"{what} failed with exit code {code}; the end of its output:\n{last}")
    return ConversionError(
        f"{what} was killed by signal {-code}; the end of its output:\n{last}",
        hint="if the signal is 9, this machine ran out of memory: convert on a machine with more memory",
    )


def _peak_bytes(pid: int) -> int:
    """Return the maximum resident memory so far in bytes; 0 when the process has just ended.

    A limit by RLIMIT_AS would count address space, of which TensorFlow maps far more than it uses.

    Source: proc_pid_status(5): VmHWM in kB.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _die_with_parent() -> None:
    """Make Linux kill this process when its parent process ends, even if the parent is killed by SIGKILL."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the conversion that started this process has ended")
