"""Opening of the agent's spool, into which the spools of earlier versions are moved.

In those versions, each source had an agent and a spool of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.errors import SpoolError
from eaves.sources.settings import AgentSettings
from eaves.spool import Spool, SpoolLimits
from eaves.spool.takeover import adopt, take_over

AGAIN_S = 300.0
"""Interval at which the agent retries to move an earlier spool's contents, seconds. A retry may succeed because
deliveries have made room in the agent's spool meanwhile."""

_log = logging.getLogger(__name__)


def open_spool(settings: AgentSettings, limits: SpoolLimits) -> Spool:
    """Open the agent's spool; when it doesn't exist, the spool of an earlier agent takes its place.

    Raises:
        SpoolError: When the agent's own spool can't be opened.
    """
    for path in settings.former_spools():
        try:
            if path.exists() and adopt(settings.spool, path):
                _log.info("the spool %s was renamed to %s", path, settings.spool)
        except SpoolError as error:
            _log.error("the spool %s can't be used instead of %s: %s", path, settings.spool, error.message)
    return Spool(settings.spool, limits=limits)


class SpoolTakeover:
    """Moves the contents of earlier agents' spools into the spool of this agent.

    A spool that can't be moved now is left unchanged and retried later; its fault is logged. Images are captured
    meanwhile.

    Args:
        spool: Spool of the agent.
        paths: Files of the earlier agents' spools.
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, spool: Spool, paths: Sequence[Path], *, clock: Clock = SYSTEM) -> None:
        self._spool = spool
        self._left = list(paths)
        self._logged: set[Path] = set()
        self._stop = StopFlag(clock)
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)

    def start(self) -> None:
        """Move the entries of the earlier spools now; a thread retries the spools that can't be moved yet."""
        self._take_over()
        if self._left:
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread that retries to move earlier spools.

        A move in progress ends with the spool or the process, and is continued after the next start.
        """
        self._stop.set()

    def _run(self) -> None:
        while self._left and not self._stop.wait(AGAIN_S):
            self._take_over()

    def _take_over(self) -> None:
        self._left = [path for path in self._left if path.exists() and not self._move(path)]

    def _move(self, path: Path) -> bool:
        try:
            _log.info("moved %d entries from the spool %s", take_over(self._spool, path), path)
        except SpoolError as error:
            if path not in self._logged:
                self._logged.add(path)
                every = f"{AGAIN_S / 60:.0f} minutes"
                _log.error("the entries of spool %s can't be moved yet; next try in %s: %s", path, every, error.message)
            return False
        return True
