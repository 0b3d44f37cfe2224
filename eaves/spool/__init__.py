"""A durable queue on disk: what was put is still there after a crash, a kill or a power cut.

One SQLite file that any number of processes open at once. An event's body is stored once and delivered on any number of
lanes; it goes with its last delivery. Every change is on disk before its call returns, and nothing is ever dropped to
make room. Nothing here sends anything: see `eaves.delivery`.
"""

from eaves.spool.entry import DeadLetter, Entry, Puts
from eaves.spool.lease import Lease
from eaves.spool.queue import Spool

__all__ = ["DeadLetter", "Entry", "Lease", "Puts", "Spool"]
