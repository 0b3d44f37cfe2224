"""An operator's view of a queue: the contents of each lane, every entry with its data, and retry, drop and purge.

report   what a process reports of its queue, its sources and its link; plain data to and from JSON
metrics  the same report as Prometheus text
queue    a queue on a spool, and one in another process by the one JSON form of a request to a queue
server   a process's Unix socket and port; client: a queue behind a Unix socket, or opened from its file
"""

from eaves.admin.queue import Action, Changed, EntryContent, Queue
from eaves.admin.report import LaneReport, QueueReport, SourceReport
from eaves.spool import Selection
from eaves.spool.schema import DEAD

__all__ = [
    "DEAD",
    "Action",
    "Changed",
    "EntryContent",
    "LaneReport",
    "Queue",
    "QueueReport",
    "Selection",
    "SourceReport",
]
