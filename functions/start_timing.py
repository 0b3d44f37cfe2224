"""Timing of a process's start: when each step ended, in milliseconds since exec.

The main thread and the thread that loads the model both take steps. `--timing` logs them.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class StartTiming:
    """Record of when each step of one start ended; create it before any other work."""

    def __init__(self) -> None:
        # The kernel records a process's start to 10 ms only. Until here one thread worked without waiting, so its CPU
        # time is the time since exec.
        self._origin = time.perf_counter() - time.process_time()
        self._moments: list[tuple[str, float]] = []
        self._is_logged = False
        self._marked_once: set[str] = set()
        self.mark("interpreter")

    def mark(self, stage: str) -> None:
        """Record that the calling thread has just finished a stage, such as `import numpy`."""
        self._moments.append((stage, time.perf_counter()))

    def mark_once(self, stage: str) -> None:
        """Record the first time that a stage ends; later calls, and calls after `log_once`, do nothing."""
        if not self._is_logged and stage not in self._marked_once:
            self._marked_once.add(stage)
            self.mark(stage)

    def import_modules(self, *names: str) -> None:
        """Import modules one by one, and record each import as a stage."""
        for name in names:
            importlib.import_module(name)
            self.mark(f"import {name}")

    def moments_ms(self) -> Mapping[str, float]:
        """Return the time when each stage ended, milliseconds since exec."""
        return {stage: round((moment - self._origin) * 1000, 1) for stage, moment in self._moments}

    def log_once(self, stage: str) -> None:
        """Record the last stage and log the stages; later calls do nothing."""
        if not self._is_logged:
            self._is_logged = True
            self.mark(stage)
            ended_ms = self.moments_ms()
            lines = "\n".join(f"{at_ms:8.1f}  {stage}" for stage, at_ms in ended_ms.items())
            _log.info("the steps of the start ended after so many ms:\n%s", lines, extra={"start_ms": ended_ms})
