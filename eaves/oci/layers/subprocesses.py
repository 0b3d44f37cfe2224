"""Running of a child process that doesn't outlive the call: it writes into folders that are removed after it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from eaves.oci.signal_handling import hold_signals


def run_child(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Run a command; return its exit status and its output.

    `subprocess.run` doesn't wait for the child when it is interrupted, and an interruption while the child is started
    leaves a process without an owner.

    Raises:
        OSError: When the command can't be started.
        subprocess.TimeoutExpired: When it takes longer than `timeout_s`; the process is killed.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with hold_signals():
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        output, _ = process.communicate(timeout=timeout_s)
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        raise
    return process.returncode, output
