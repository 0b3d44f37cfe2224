"""An agent's spool, with what the spools of earlier agents hold."""

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
"""Seconds until a spool that couldn't be taken over is tried again: what is delivered meanwhile makes room for it."""

_log = logging.getLogger(__name__)


def open_spool(settings: AgentSettings, limits: SpoolLimits) -> Spool:
    """Open the agent's spool; one of an earlier agent is taken for it where there is none.

    Raises:
        SpoolError: When the agent's own can't be opened.
    """
    for path in settings.former_spools():
        try:
            if path.exists() and adopt(settings.spool, path):
                _log.info("spool %s is now %s", path, settings.spool)
        except SpoolError as error:
            _log.error("spool %s can't be used in place of %s: %s", path, settings.spool, error.message)
    return Spool(settings.spool, limits=limits)


class SpoolTakeover:
    """Moves into an agent's spool what those of earlier agents hold.

    One that can't be taken over is logged and left as it is, and tried again later: images are captured all the same.

    Args:
        spool: The agent's.
        paths: Files of the others.
        clock: Time.
    """

    def __init__(self, spool: Spool, paths: Sequence[Path], *, clock: Clock = SYSTEM) -> None:
        self._spool = spool
        self._left = list(paths)
        self._logged: set[Path] = set()
        self._stop = StopFlag(clock)
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)

    def start(self) -> None:
        """Take over at once what can be, and the rest in a thread of its own."""
        self._take_over()
        if self._left:
            self._thread.start()

    def stop(self) -> None:
        """Try no more. A move under way ends with the spool or the process, and goes on at the next start."""
        self._stop.set()

    def _run(self) -> None:
        while self._left and not self._stop.wait(AGAIN_S):
            self._take_over()

    def _take_over(self) -> None:
        self._left = [path for path in self._left if path.exists() and not self._move(path)]

    def _move(self, path: Path) -> bool:
        try:
            _log.info("took over %d entries of spool %s", take_over(self._spool, path), path)
        except SpoolError as error:
            if path not in self._logged:
                self._logged.add(path)
                every = f"{AGAIN_S / 60:.0f} minutes"
                _log.error("spool %s can't be taken over yet, it is tried every %s: %s", path, every, error.message)
            return False
        return True
