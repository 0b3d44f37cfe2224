"""The protocol between a relay at the edge and the receiver in the cloud: HTTPS, CloudEvents in batches.

paths         the receiver's routes
batch         many events in one body
compression   gzip, with a bound on what comes out of it
batch_answer  what became of each event of a batch
body_gate     the end of a request's body, which waits for the answer to the request before it

A batch is a JSON array of CloudEvents (CloudEvents, JSON event format, section 4), so that any client can send one.
What the receiver has answered for is on its disk: the relay releases exactly that. Everything else is sent again.
"""

from eaves.link.batch import decode_batch, encode_batch
from eaves.link.batch_answer import BatchAnswer, RefusedEvent, parse_batch_answer
from eaves.link.compression import compress, decompress

__all__ = [
    "BatchAnswer",
    "RefusedEvent",
    "compress",
    "decode_batch",
    "decompress",
    "encode_batch",
    "parse_batch_answer",
]
