"""A process that is waited for, and that nothing outlives: it writes into folders that are removed after it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from eaves.oci.signal_handling import hold_signals


def run_child(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Run a command; its status and what it said.

    `subprocess.run` doesn't wait for the child when it is interrupted, and an interruption while the child is started
    leaves nobody who knows of it.

    Raises:
        OSError: When it can't be started.
        subprocess.TimeoutExpired: When it takes longer; it is ended.
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
        said, _ = process.communicate(timeout=timeout_s)
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        raise
    return process.returncode, said
