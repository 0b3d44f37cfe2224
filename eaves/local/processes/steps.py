"""Steps of a chain of commands: each is a process of its own, which is watched until it ends."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from eaves.errors import CancelledError, StoppedError
from eaves.local.processes.process import die_with_parent
from trainer.lifecycle import StopRequest

POLL_S = 0.2
"""Interval at which a running step is looked at, seconds."""
_log = logging.getLogger("eaves.pipeline")


def run_step(
    step: str,
    words: Sequence[str],
    stop: StopRequest,
    *,
    said: str = "",
    pass_fds: Sequence[int] = (),
    watch: Callable[[], object] = lambda: None,
) -> None:
    """Run one step as a process and wait for its end.

    Args:
        step: Name of the step.
        words: Module, and its arguments.
        stop: Request that ends the step.
        said: Text on the step's standard input, for secrets, which a command line would show to every user; short.
        pass_fds: File descriptors that the process inherits.
        watch: Called while the step runs.

    Raises:
        StoppedError: When SIGTERM asks the chain to stop; the step has been stopped and has ended.
        CancelledError: When Ctrl-C does.
        SystemExit: When the step fails, with the step's exit code, or 128 and the number of the signal that ended it.
    """
    _log.info("the step %s begins", step, extra={"step": step})
    started, code = time.monotonic(), None
    process = subprocess.Popen(
        [*die_with_parent(), sys.executable, "-P", "-m", *words],
        # In a session of its own, the step gets Ctrl-C from this process only; a second signal would cut off a
        # checkpoint.
        start_new_session=True,
        stdin=subprocess.PIPE if said else subprocess.DEVNULL,
        pass_fds=tuple(pass_fds),
    )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(said.encode())
    while code is None and not stop.is_set():
        watch()
        try:
            code = process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    watch()
    if code is None:
        process.terminate()
        process.wait()
        kind = CancelledError if stop.number == signal.SIGINT else StoppedError
        raise kind(
            f"stopped during the step {step}",
            hint="run the same command again; it continues with this step",
        )
    if code:
        _log.error("the step %s failed with exit code %d", step, code, extra={"step": step})
        sys.exit(code if code > 0 else 128 - code)
    _log.info("the step %s is done after %.1f s", step, time.monotonic() - started, extra={"step": step})
