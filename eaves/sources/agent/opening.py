"""An agent's spool, with what the spools of earlier agents hold."""

from __future__ import annotations

import logging
from pathlib import Path

from eaves.errors import SpoolError
from eaves.sources.settings import AgentSettings
from eaves.spool import Limits, Spool
from eaves.spool.takeover import adopt, take_over

_log = logging.getLogger(__name__)


def open_spool(settings: AgentSettings, limits: Limits) -> Spool:
    """Open the agent's spool and take over others.

    One that can't be taken over is logged and left as it is, for the next start: images are captured all the same.

    Raises:
        SpoolError: When the agent's own can't be opened.
    """
    former = [path for path in map(Path, settings.takeover) if path.exists()]
    for path in former:
        try:
            if adopt(settings.spool, path):
                _log.info("spool %s is now %s", path, settings.spool)
        except SpoolError as error:
            _log.error("spool %s can't be taken over: %s", path, error.message)
    spool = Spool(settings.spool, limits=limits)
    for path in former:
        try:
            if path.exists():
                _log.info("took over %d entries of spool %s", take_over(spool, path), path)
        except SpoolError as error:
            _log.error("spool %s can't be taken over; the next start tries again: %s", path, error.message)
    return spool
