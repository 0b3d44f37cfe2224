"""Entry point of the decoder: reads a request from stdin and writes messages to stdout until the stream ends."""

from __future__ import annotations

import os
import sys
import traceback

from eaves.sources.camera.decoder import process
from eaves.sources.camera.decoder.output import Output
from eaves.sources.camera.wire import Ended, Failed, StreamRequest, parse_request


def main() -> None:
    """Run the decoder."""
    process.unblock_signals()
    process.end_with_parent()
    output = process.take_output()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    request = parse_request(line)
    stop = process.StopSignal()
    process.forbid_core_files()
    process.limit_memory(request.max_memory_bytes)
    messages = Output(output, waits=not request.paced)
    last = _read(request, messages, stop)
    if last is not None:
        messages.finish(last)


def _read(request: StreamRequest, output: Output, stop: process.StopSignal) -> Ended | Failed | None:
    """Read the stream and return the last message; None after SIGTERM."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        return Failed(code="missing_library", message=f"PyAV can't be loaded: {error}")
    from eaves.sources.camera.decoder.session import read_stream

    return read_stream(request, output, stop)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    os._exit(status)  # libraries that still hold the stream can't delay or crash the end
