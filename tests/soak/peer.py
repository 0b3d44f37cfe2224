"""An HTTP server that tests kill: a subscriber that records events, or a function that answers predictions.

    python peer.py PORT --record FILE     append "id<TAB>subject<TAB>" of each event, on disk before the answer 202
    python peer.py PORT --reply           answer each event with a prediction

It imports nothing of the project, so that it starts in a moment.
"""

import argparse
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PREDICTION = b'{"predictions": [{"label": "daisy", "score": 0.9}]}'


class Server(ThreadingHTTPServer):
    """The server with its record.

    Args:
        port: TCP port on loopback.
        record: File that events are recorded in; None answers predictions instead.
    """

    request_queue_size = 64

    def __init__(self, port: int, record: Path | None) -> None:
        self._lock = threading.Lock()
        self._record = None if record is None else os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def recording(self) -> bool:
        """Whether events are recorded."""
        return self._record is not None

    def record(self, event_id: str, subject: str) -> None:
        """Append one line; it is on disk on return. It begins with the end of a line that a kill may have cut off."""
        assert self._record is not None
        with self._lock:
            os.write(self._record, f"\n{event_id}\t{subject}\t\n".encode())
            os.fsync(self._record)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Server

    def do_POST(self) -> None:
        """Record the event and answer 202, or answer a prediction."""
        self.rfile.read(int(self.headers["Content-Length"]))
        event_id, subject = self.headers["ce-id"], self.headers["ce-subject"]
        if self.server.recording:
            self.server.record(event_id, subject)
            self._answer(202, {}, b"")
            return
        reply = {
            "Content-Type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": f"prediction-{event_id}",
            "ce-source": "/eaves/soak/function",
            "ce-type": "dev.eaves.image.classified.v1",
            "ce-subject": subject,
        }
        self._answer(200, reply, PREDICTION)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path)
    what.add_argument("--reply", action="store_true")
    arguments = parser.parse_args()
    with Server(arguments.port, arguments.record) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
