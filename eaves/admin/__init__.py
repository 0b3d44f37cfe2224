"""An operator's view of a queue: the contents of each lane, every entry with its data, and retry, drop and purge.

`SpoolQueue` works on a spool, `SocketQueue` asks the process that delivers it over that process's Unix socket, and
`open_queue` chooses between them. The same routes serve an agent and the local platform (`eaves.admin.routes`), and the
same report becomes Prometheus text (`eaves.admin.metrics`). This package delivers and captures nothing.
"""

from eaves.admin.queue import Action, Changed, EntryContent, Queue
from eaves.admin.report import LaneReport, QueueReport, SourceReport
from eaves.admin.selector import Selector

__all__ = ["Action", "Changed", "EntryContent", "LaneReport", "Queue", "QueueReport", "Selector", "SourceReport"]
