"""One stream from its opening to its end, with every failure as a message."""

from __future__ import annotations

import time

from eaves.sources.camera.decoder.connection.failures import explain_open_error, explain_read_error
from eaves.sources.camera.decoder.connection.library_log import LibraryLog
from eaves.sources.camera.decoder.connection.opening import find_scheme, open_stream
from eaves.sources.camera.decoder.output import Output
from eaves.sources.camera.decoder.process import StopSignal, limit_memory, read_allocated_bytes
from eaves.sources.camera.decoder.reading import StreamReader
from eaves.sources.camera.wire import Ended, Failed, StreamRequest

IMAGE_ROOM_BYTES, IMAGE_COPIES = 100_000_000, 4
"""Memory that a stream of JPEG images may take: bytes, and a multiple of the largest image that is passed on. FFmpeg
collects an image until its end comes, which may be never."""


def read_stream(request: StreamRequest, output: Output, stop: StopSignal) -> Ended | Failed | None:
    """Read a stream and return the last message; None when a signal ended it."""
    deadline = time.monotonic() + request.connect_timeout_s
    with LibraryLog(request.url, output.finish) as log:
        try:
            stream = open_stream(request)
        except Exception as error:  # noqa: BLE001
            in_time = time.monotonic() < deadline
            return explain_open_error(error, log.lines, scheme=find_scheme(request.url), in_time=in_time)
    if stream.passes_on and (allocated := read_allocated_bytes()):
        limit_memory(min(request.max_memory_bytes, allocated + IMAGE_ROOM_BYTES + IMAGE_COPIES * request.max_bytes))
    try:
        ended = StreamReader(request, stream, output, lambda: stop.received).run()
    except Exception as error:  # noqa: BLE001
        return explain_read_error(error)
    stream.container.close()  # it says goodbye to the camera; no other thread uses it
    return None if stop.received else ended
