"""What a spool holds, from its counters."""

from __future__ import annotations

from eaves.spool.entry import LaneStatus
from eaves.spool.selection import Read

_LANES = (
    "SELECT lane, queued, dead, queued_bytes, dead_bytes, (SELECT put_at FROM events JOIN deliveries USING(eid)"
    " WHERE seq = (SELECT min(seq) FROM (SELECT min(seq) AS seq FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before = 0 UNION ALL SELECT min(seq) FROM deliveries d"
    " WHERE d.lane = lanes.lane AND state = 'queued' AND not_before > 0))) FROM lanes ORDER BY lane"
)


def read_lanes(read: Read) -> list[LaneStatus]:
    """What each lane holds that holds anything, by name."""
    return [
        LaneStatus(lane=lane, queued=queued, dead=dead, queued_bytes=waiting, dead_bytes=kept, oldest_at=oldest)
        for lane, queued, dead, waiting, kept, oldest in read(_LANES, ())
    ]
