"""A durable queue on disk: an event that was put into it is still there after a crash, a kill or a power cut.

The queue is one SQLite file that any number of processes open at the same time. An event's body is stored once and
delivered on any number of lanes (queues within the file); it is deleted with its last entry. Every change is on disk
before its call returns. A full spool refuses new events; only dead letters beyond their own budget are deleted, and
each of these is counted and logged by id. Sending the events is the task of `eaves.delivery`.

    queue          `Spool`: put, peek, ack, retry, dead-letter, counts and sizes
    entry          `Entry` and `DeadLetter`
    put            how events are inserted into the tables
    admin          what an operator does with entries: select, list, measure; retry, redrive, drop and purge
    limits         size, number and age of what is kept, and deletion beyond that
    settings       settings of a process with a queue
    ledger         a line for every event that was put, with its outcome; `ledger_schema`: its tables
    database       the SQLite file: commits that threads share, reading, waiting; `schema`: its tables
    outcomes       outcomes of requests to a function, by its revision
    score_shift    whether the scores of a model's images have shifted
    file           connections, errors, and locks between processes
    salvage        replacing a damaged file
"""

from eaves.spool.admin import Selection, Stored
from eaves.spool.entry import DeadLetter, Entry, LaneStatus, PutOutcome, Puts
from eaves.spool.file import Lease, lease_path
from eaves.spool.ledger import Ledger, LedgerCounts, LedgerLimits, LedgerLine
from eaves.spool.ledger_schema import content_digest
from eaves.spool.limits import SpoolLimits, WhenFull
from eaves.spool.queue import Spool

__all__ = [
    "DeadLetter",
    "Entry",
    "LaneStatus",
    "Lease",
    "Ledger",
    "LedgerCounts",
    "LedgerLimits",
    "LedgerLine",
    "PutOutcome",
    "Puts",
    "Selection",
    "Spool",
    "SpoolLimits",
    "Stored",
    "WhenFull",
    "content_digest",
    "lease_path",
]
