"""A camera with a snapshot address: another drawn flower for each request."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from tests.docs.blocks.preparation import PETALS, draw_flower

NUMBERS = count()


class Snapshot(BaseHTTPRequestHandler):
    """Answers every path with a JPEG."""

    def do_GET(self) -> None:
        """Answer with a flower that no request before had."""
        picture = io.BytesIO()
        number = next(NUMBERS)
        draw_flower([*PETALS.values()][number % len(PETALS)], random.Random(number)).save(picture, "JPEG")
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(picture.getvalue())))
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing."""


@contextmanager
def serve_snapshots() -> Iterator[str]:
    """Run a camera; the URL of its snapshot."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Snapshot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/snapshot.jpg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
