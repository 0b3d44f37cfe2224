"""Keeping of a thumbnail of each new image, while somebody looks."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.console.thumbnails.gallery import Gallery, digest_of, has_image
from eaves.errors import EavesError
from eaves.history import Record, RecordFilter, Records

LOOKING_S = 30.0
"""Time since the last request for which somebody still looks, seconds; an open page asks every 2 s."""
POLL_S = 0.25
"""Time between two looks for new records while somebody looks, seconds."""
REST_S = 0.5
"""Time between two looks for a person who looks, seconds."""
RETRY_S = 5.0
"""Pause after a failure, seconds."""
PER_SECOND = 20
"""Maximum number of thumbnails per second."""
SHARE = 0.25
"""Share of one CPU that thumbnails may take, so that pages are not delayed by a flood of large images."""
MAX_WAITING = 200
"""Maximum number of images that wait; beyond it the oldest ones are left out."""
BATCH = 500
"""Maximum number of records that are read at a time."""

_log = logging.getLogger(__name__)


class ThumbnailCollector:
    """A thread that follows the history while somebody looks, and keeps the newest images first.

    Whatever fails is logged once and tried again; the thread ends only by `stop`.

    Args:
        records: The history.
        gallery: Makes and keeps thumbnails.
        watching: Returns whether somebody looks, or whether images are kept always.
        clock: Clock for pauses.
    """

    def __init__(
        self,
        records: Records,
        gallery: Gallery,
        *,
        watching: Callable[[], bool],
        clock: Clock = SYSTEM,
    ) -> None:
        self._records = records
        self._gallery = gallery
        self._watching = watching
        self._clock = clock
        self._stopped = StopFlag(clock)
        self._thread = threading.Thread(target=self._run, name="thumbnails", daemon=True)
        self._after: int | None = None
        self._waiting: OrderedDict[tuple[str, str], Record] = OrderedDict()
        self._failing = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the image that it is working on."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._step()):
            pass

    def _step(self) -> float:
        """Do the next piece of work; return how long to pause afterwards, seconds."""
        try:
            if not self._watching():
                self._after = None
                self._waiting.clear()
                return REST_S
            pause = self._work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next image may be fine
            if not self._failing:
                _log.warning("an image got no thumbnail: %s", error, exc_info=not isinstance(error, EavesError))
            self._failing = True
            return RETRY_S
        self._failing = False
        return pause

    def _work(self) -> float:
        self._follow()
        if not self._waiting:
            return POLL_S
        start = self._clock.monotonic()
        _, newest = self._waiting.popitem()
        self._gallery.thumbnail(newest)
        return max(1 / PER_SECOND, (self._clock.monotonic() - start) * (1 / SHARE - 1))

    def _follow(self) -> None:
        """Read new records. The first time, read the newest ones, whose images the platform may still hold."""
        newest = self._records.newest()
        if self._after is None or newest < self._after:  # nobody looked before, or the history was replaced
            self._waiting.clear()
            found = self._records.find(RecordFilter(), limit=2 * MAX_WAITING)
            self._after = found[0].seq if found else 0
            self._take(reversed(found))
        while self._after < newest and (batch := self._records.next(after=self._after, limit=BATCH)):
            self._after = batch[-1].seq
            self._take(batch)

    def _take(self, records: Iterable[Record]) -> None:
        captured = {digest_of(*one.identity): one for one in records if one.cause is None and has_image(one)}
        known = self._gallery.find(captured)
        self._waiting.update((one.identity, one) for digest, one in captured.items() if digest not in known)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
