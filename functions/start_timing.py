"""Timing of a process's start: when each step ended, in milliseconds since exec.

The main thread and the thread that loads the model both take steps. `--timing` logs them.
"""

from __future__ import annotations

import importlib
import logging
import time

_log = logging.getLogger(__name__)


class StartTiming:
    """Record of when each step of one start ended; create it before any other work."""

    def __init__(self) -> None:
        # The kernel records a process's start to 10 ms only. Until here one thread worked without waiting, so its CPU
        # time is the time since exec.
        self._origin = time.perf_counter() - time.process_time()
        self._moments: dict[str, float] = {}
        self._is_logged = False
        self.mark("interpreter")

    def mark(self, stage: str) -> None:
        """Record that the calling thread has finished a stage, such as `import numpy`, for the first time."""
        self._moments.setdefault(stage, time.perf_counter())

    def import_modules(self, *names: str) -> None:
        """Import modules one by one, and record each import as a stage."""
        for name in names:
            importlib.import_module(name)
            self.mark(f"import {name}")

    def log_once(self, stage: str) -> None:
        """Record the last stage, and log when each one ended; later calls do nothing."""
        if not self._is_logged:
            self._is_logged = True
            self.mark(stage)
            ended_ms = {name: round((moment - self._origin) * 1000, 1) for name, moment in self._moments.copy().items()}
            lines = "\n".join(f"{at_ms:8.1f}  {stage}" for stage, at_ms in ended_ms.items())
            _log.info("the steps of the start ended after so many ms:\n%s", lines, extra={"start_ms": ended_ms})
