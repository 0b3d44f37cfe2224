"""The history of a platform's accepted events, for people. It keeps the newest events and may lose any of them.

record        what is stored of one event, and the prediction in it; the filter and the Protocol of readers
file_history  writes the file, which `eaves up` does, and reads it for pages and commands while it is written
expendable_file  a bounded SQLite file that may be lost; thumbnails are in one, too
recent_images  the newest images, held in memory by reference

The history is a record and not a queue: losing it loses no event. It stores only the size of an image. The number of
records and the bytes are bounded. A damaged file is set aside and replaced: writes don't wait for the disk, so a power
failure may damage the file.
"""

from eaves.history.file_history import KEEP, MAX_BYTES, STEP, FileHistory, HistoryReader
from eaves.history.record import (
    MAX_ATTRIBUTE,
    MAX_EXTENSIONS,
    MAX_TEXT,
    Record,
    RecordFilter,
    Records,
    SourceRecords,
)

__all__ = [
    "KEEP",
    "MAX_ATTRIBUTE",
    "MAX_BYTES",
    "MAX_EXTENSIONS",
    "MAX_TEXT",
    "STEP",
    "FileHistory",
    "HistoryReader",
    "Record",
    "RecordFilter",
    "Records",
    "SourceRecords",
]
