"""Reads what the first screen shows from a backend."""

from __future__ import annotations

import itertools
import statistics
import threading
from collections.abc import Sequence
from dataclasses import replace

from eaves.console.context import ConsoleContext
from eaves.console.model.overview import Overview, build_overview
from eaves.console.model.source_tile import LastImage, build_last
from eaves.events import IMAGE_CAPTURED
from eaves.history import Record, RecordFilter, SourceRecords

RHYTHM_IMAGES = 12
"""Number of the newest images of a source whose times decide whether they come regularly."""
MIN_INTERVALS = 5
"""Minimum number of intervals between images for a rhythm."""
UNEVEN = 4.0
"""Longest interval of a rhythm, as a multiple of the median interval."""
LOOKUPS = 20
"""Maximum number of sources whose rhythm is looked up at once; the others follow at the next reading."""

PICTURES = 200
"""Number of sources, those with the newest images, for which it is checked whether their picture is kept. There are
fewer tiles."""


class FirstScreen:
    """Reads the state of a platform for the first screen. Threads may share it.

    Args:
        context: The platform and its settings.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._rhythms: dict[str, tuple[int, float | None]] = {}

    def read(self) -> Overview:
        """Return the present state.

        Raises:
            EavesError: When the platform can't be reached.
        """
        backend, now = self._context.backend, self._context.clock.now()
        sources = backend.records.by_source()
        images = self._list_images(sources, now)
        newest = [record for one in sources[:PICTURES] for record in (one.captured, one.predicted) if record]
        shown = backend.images.find_shown(newest)
        for one in sources[:PICTURES]:
            if one.source in images and images[one.source].seq not in shown:
                images[one.source] = replace(images[one.source], picture="")
        silent_after_s = self._context.settings.silent_after_s
        return build_overview(backend.status(), images, now=now, silent_after_s=silent_after_s)

    def _list_images(self, sources: Sequence[SourceRecords], now: float) -> dict[str, LastImage]:
        """Return the newest image of each source, by its CloudEvents source."""
        images, lookups = {}, LOOKUPS
        with self._lock:
            for one in sources:
                usual_s, asked = self._find_rhythm(one, now, may_ask=lookups > 0)
                lookups -= asked
                last = build_last(one.captured, one.predicted, usual_s)
                if last is not None:
                    images[one.source] = last
        return images

    def _find_rhythm(self, one: SourceRecords, now: float, *, may_ask: bool) -> tuple[float | None, bool]:
        """Return the usual time between the images of a source that has been silent, and whether a query was made."""
        newest = one.captured
        after_s = self._context.settings.silent_after_s
        if newest is None or not after_s or now - newest.at <= after_s:
            return None, False
        known = self._rhythms.get(one.source)
        if known is not None and known[0] == newest.seq:
            return known[1], False
        if not may_ask:
            return None, False
        records = self._context.backend.records.find(
            RecordFilter(types=(IMAGE_CAPTURED,), source=one.source), limit=RHYTHM_IMAGES
        )
        found = find_rhythm(records)
        self._rhythms[one.source] = newest.seq, found
        return found, True


def find_rhythm(records: Sequence[Record]) -> float | None:
    """Return the usual time between images that come regularly, seconds; None when they don't.

    Args:
        records: The newest images of one source, newest first.
    """
    intervals = [newer.at - older.at for newer, older in itertools.pairwise(records)]
    if len(intervals) < MIN_INTERVALS:
        return None
    usual_s = statistics.median(intervals)
    return usual_s if usual_s > 0 and max(intervals) <= UNEVEN * usual_s else None
