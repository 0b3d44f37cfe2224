"""Turns a child that the zygote has forked into the process that `python -P -m MODULE` would have started."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from eaves.local.processes.zygote.fork_request import GO, ForkAnswer, ForkRequest, send_answer
from eaves.local.processes.zygote.prctl import set_parent_death_signal

_ARG_START, _ARG_END = 48, 49
"""Numbers of the fields in /proc/PID/stat with the addresses of the command line. Source: proc_pid_stat(5)."""


def join_parent(request: ForkRequest, forked_by: int) -> bool:
    """Become a child of `eaves up`, and ask it whether to run.

    Args:
        request: Request for this process.
        forked_by: Process id of the process that forked this one and ends at once.

    Returns:
        Whether to run. False: `eaves up` has ended, waits no longer, or isn't the parent.
    """
    while os.getppid() == forked_by:
        os.sched_yield()
    try:
        set_parent_death_signal(signal.SIGTERM)
        if os.getppid() != request.parent:  # the signal was not sent if it ended before
            send_answer(request.answer, ForkAnswer(error="the kernel gave the process to another parent"))
            return False
        send_answer(request.answer, ForkAnswer(pid=os.getpid()))
        return request.answer.recv(len(GO)) == GO
    except OSError:
        return False


def set_up(request: ForkRequest, environ: os._Environ[str]) -> None:
    """Give this process the session, files, environment and command line of one that was started by the command.

    Args:
        request: Request for this process.
        environ: `os.environ`, whose variables are replaced.
    """
    os.setsid()
    os.dup2(request.log, 1)
    os.dup2(request.log, 2)
    os.close(request.log)
    request.answer.close()
    command = request.command
    renumber(request.passed, command.pass_fds)
    _replace(environ, command.environ)
    sys.argv = [*sys.argv[:1], *command.arguments]
    words = [sys.executable, "-P", "-m", command.module]
    sys.orig_argv = [*words, *command.arguments]
    with suppress(OSError, ValueError):
        _write_command_line(sys.orig_argv, words)


def renumber(handles: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files other numbers. A file that has one of these numbers and isn't in `handles` is closed."""
    moved = [fcntl.fcntl(handle, fcntl.F_DUPFD, 1 + max(numbers)) for handle in handles]
    for handle in handles:
        os.close(handle)
    for handle, number in zip(moved, numbers, strict=True):
        os.dup2(handle, number)
        os.close(handle)


def _replace(environ: os._Environ[str], wanted: Mapping[str, str]) -> None:
    for name in [name for name in environ if name not in wanted]:
        del environ[name]
    environ.update(wanted)
    time.tzset()


def _write_command_line(*choices: Sequence[str]) -> None:
    """Write the first command line that fits into this process's memory, where ps(1) finds it.

    The rest of the old one becomes zeros. Long arguments of the console don't fit, so ps(1) doesn't show them.

    Source: proc_pid_cmdline(5).
    """
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    start, end = int(fields[_ARG_START - 3]), int(fields[_ARG_END - 3])
    texts = (b"\0".join(map(os.fsencode, words)) + b"\0" for words in choices)
    fitting = next((text for text in texts if len(text) <= end - start), None)
    if start > 0 and fitting:
        ctypes.memmove(start, fitting.ljust(end - start, b"\0"), end - start)
