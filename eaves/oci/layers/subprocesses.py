"""Running of child processes that never outlive the call.

The caller removes the folders that the child writes into right after the call.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from eaves.oci.signal_handling import hold_signals


def run_child(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Run a command; return its exit status and its output.

    The child has always ended on return. `subprocess.run` doesn't wait for it after an interruption, and an
    interruption during the start of the child would leave it running.

    Raises:
        OSError: When the command can't be started.
        subprocess.TimeoutExpired: When the command takes longer than `timeout_s` seconds; its process is killed.
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
