"""Runs the steps of a conversion that need TensorFlow, or a foreign model, in child processes.

A child process frees TensorFlow's memory when it ends, starts its libraries' counters from 0, and contains a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.errors import ConversionError
from eaves.inference import child_process
from eaves.inference.child_process import ChildFault


def run_child(module: str, job: Mapping[str, Any], *, what: str, timeout_s: float) -> dict[str, Any]:
    """Run `python -P -m module` with a job to its end, and return the result of its work.

    Args:
        module: Name of the module, whose `__main__` part calls `eaves.inference.child_process.run_child_main`.
        job: Input of the child as plain data.
        what: Name of the child process in error messages.
        timeout_s: Maximum run time in seconds.

    Raises:
        ConversionError: The child is killed, fails, or takes too long.
        EavesError: The error that the child's work raised.
    """
    try:
        (result,) = child_process.run_child(module, job, timeout_s=timeout_s)
    except ChildFault as fault:
        if fault.late:
            raise ConversionError(
                f"{what} was stopped: it took longer than convert.timeout_s ({timeout_s:.0f} s)",
                hint="raise convert.timeout_s",
            ) from fault
        last = "\n".join(fault.words.strip().splitlines()[-8:])
        if fault.code >= 0:
            message = f"{what} failed with exit code {fault.code}; the end of its output:\n{last}"
            raise ConversionError(message) from fault
        raise ConversionError(
            f"{what} was killed by signal {-fault.code}; the end of its output:\n{last}",
            hint="if the signal is 9, this machine ran out of memory: convert on a machine with more memory",
        ) from fault
    return dict(result)
