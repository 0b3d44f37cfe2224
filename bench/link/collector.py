"""Collects the predictions of the cloud-only setup, with a small HTTP server at the edge.

`python -m bench.link.collector PORT FILE` appends one line for each event: time of arrival and id.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    """Accept events on PORT and append a line for each to FILE, until the process is killed."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    with file.open("a", buffering=1) as stream:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                stream.write(f"{time.time():.4f}\t{self.headers.get('ce-id', '')}\n")
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                pass

        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def read(file: Path) -> list[tuple[float, str]]:
    """Return the time of arrival (Unix seconds) and the id of each event in the collector's file."""
    lines = file.read_text().splitlines() if file.exists() else []
    parts = [line.split("\t") for line in lines]
    return [(float(one[0]), one[1]) for one in parts if len(one) == 2]


if __name__ == "__main__":
    main()
