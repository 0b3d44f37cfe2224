"""A durable queue on disk: what was put is still there after a crash, a kill or a power cut.

One SQLite file that any number of processes open at once. An event's body is stored once and delivered on any number of
lanes (queues within the file); it goes with its last delivery. Every change is on disk before its call returns. A full
spool refuses; only dead letters beyond their own budget are deleted, counted and logged by id. Nothing here sends
anything: see `eaves.delivery`.

    queue         put, peek, ack, retry, dead-letter
    entry         what it hands out;  due_entries: in which order;  held_entries: what waits together
    batch_put     the puts of one commit;  storage: how an event gets into the tables
    limits        how much is kept, of what, for how long;  retention: what is let go;  measures: what there is
    admin         what an operator does;  selection: which entries that is for
    takeover      another spool's entries, moved into this one
    ledger/       what became of every event that was put
    file/         the SQLite file
"""

from eaves.spool.entry import DeadLetter, Entry, LaneStatus, PutOutcome, Puts
from eaves.spool.file.lease import Lease, lease_path
from eaves.spool.ledger import Ledger, LedgerCounts, LedgerLimits, LedgerLine, content_digest
from eaves.spool.limits import SpoolLimits, WhenFull
from eaves.spool.queue import Spool
from eaves.spool.selection import Selection, Stored

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
