"""Labels and sources that records have, and the newest records of each source; each record is read once for them."""

from __future__ import annotations

import sqlite3

from eaves.events import DATASET_UPDATED, IMAGE_REJECTED, MODEL_PUBLISHED
from eaves.history.records import MAX_CHOICES

_BATCH = 2_000
_NO_SOURCE = (DATASET_UPDATED, MODEL_PUBLISHED)
"""Types of events that no source of images sends."""
_VALUES = """
SELECT seq, type, source,
    CASE WHEN valid THEN json_extract(extensions, '$.causesource') END,
    CASE WHEN valid THEN json_extract(extensions, '$.label') END
FROM (
    SELECT seq, type, source, extensions, instr(extensions, '"cause') AND json_valid(extensions) AS valid
    FROM records WHERE seq > ? ORDER BY seq LIMIT ?
)
"""


class SeenValues:
    """What records have had so far. Not thread-safe.

    A value stays after its last record was deleted, until `MAX_CHOICES` newer values are known.

    Attributes:
        labels: `Record.seq` of the newest record with each label.
        captured: `Record.seq` of the newest event of each source that no other event caused.
        predicted: `Record.seq` of the newest prediction of an image of each source.
        functions: `Record.seq` of the newest prediction of each function, by the prediction's source.
    """

    def __init__(self) -> None:
        self._after = 0
        self.labels: dict[str, int] = {}
        self.captured: dict[str, int] = {}
        self.predicted: dict[str, int] = {}
        self.functions: dict[str, int] = {}

    def update(self, db: sqlite3.Connection) -> None:
        """Read the records that were added since the last call."""
        while rows := db.execute(_VALUES, (self._after, _BATCH)).fetchall():
            for seq, kind, source, cause, label in rows:
                if isinstance(cause, str) and kind != IMAGE_REJECTED:
                    _put(self.predicted, cause, seq)
                    _put(self.functions, source, seq)
                    if isinstance(label, str):
                        _put(self.labels, label, seq)
                elif cause is None and kind not in _NO_SOURCE:
                    _put(self.captured, source, seq)
            self._after = rows[-1][0]
            if len(rows) < _BATCH:
                return


def _put(seen: dict[str, int], value: str, seq: int) -> None:
    """Note the newest record of a value; beyond the limit the value with the oldest record goes."""
    seen.pop(value, None)  # put behind the others again, so that the first value has the oldest record
    seen[value] = seq
    if len(seen) > MAX_CHOICES:
        del seen[next(iter(seen))]
