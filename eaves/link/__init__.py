"""Protocol between a relay at the edge and the receiver in the cloud: CloudEvents in batches over HTTPS.

paths         the receiver's routes
batch         events as one request: many in one body with gzip, or a single image
batch_answer  the result for each event of a batch

A batch is a JSON array of CloudEvents (CloudEvents, JSON event format, section 4), so any client can send one. An event
that the receiver has acknowledged is on the receiver's disk, and the relay releases exactly the acknowledged events.
All others are sent again.
"""

from eaves.link.batch import decode_batch, encode_batch
from eaves.link.batch_answer import BatchAnswer, RefusedEvent, parse_batch_answer

__all__ = [
    "BatchAnswer",
    "RefusedEvent",
    "decode_batch",
    "encode_batch",
    "parse_batch_answer",
]
