"""Entry point of the decoder: reads a request from stdin and writes messages to stdout until the stream ends."""

from __future__ import annotations

import os
import sys
import traceback

from eaves.sources.camera.decoder.process import Output, StopSignal, begin, limit_memory
from eaves.sources.camera.wire import Ended, StreamRequest, parse_request


def main() -> None:
    """Run the decoder."""
    descriptor = begin()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    request = parse_request(line)
    stop = StopSignal()
    limit_memory(request.max_memory_bytes)
    output = Output(descriptor)
    last = _read(request, output, stop)
    if last is not None:
        output.put(last)


def _read(request: StreamRequest, output: Output, stop: StopSignal) -> Ended | None:
    """Read the stream and return the last message; None after SIGTERM."""
    try:
        from eaves.sources.camera.decoder.reading import read_stream
    except ImportError as error:
        return Ended(code="missing_library", message=f"PyAV can't be loaded: {error}")
    return read_stream(request, output, stop)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    os._exit(status)  # libraries that still hold the stream can't delay or crash the end
