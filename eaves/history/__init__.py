"""The history of a platform's accepted events, for people. It keeps the newest events and may lose any of them.

record        what is stored of one event, and its limits
rows          the columns of the file, and the connections to it
file_history  writes the file; `eaves up` has one
reading       reads the file while another process writes it, once
records       the Protocol of a history that pages show, and the filter of its records
reader        implements that Protocol on the file, with one kept connection
filter_sql    a filter as SQL
seen_values   labels and sources that records have, and the newest records of each source
expendable_file  a bounded SQLite file that may be lost; thumbnails are in one, too
recent_images  the newest images, held in memory by reference

The history is a record and not a queue: losing it loses no event. It stores only the size of an image. The number of
records and the bytes are bounded. A damaged file is set aside and replaced: writes don't wait for the disk, so a power
failure may damage the file.
"""

from eaves.history.file_history import KEEP, MAX_BYTES, STEP, FileHistory, History
from eaves.history.reader import HistoryReader
from eaves.history.reading import read_history, read_next
from eaves.history.record import MAX_ATTRIBUTE, MAX_EXTENSIONS, MAX_TEXT, Record
from eaves.history.records import RecordFilter, Records, SourceRecords

__all__ = [
    "KEEP",
    "MAX_ATTRIBUTE",
    "MAX_BYTES",
    "MAX_EXTENSIONS",
    "MAX_TEXT",
    "STEP",
    "FileHistory",
    "History",
    "HistoryReader",
    "Record",
    "RecordFilter",
    "Records",
    "SourceRecords",
    "read_history",
    "read_next",
]
