"""Child processes that cost nothing: they end at once, or answer their readiness probe from a thread."""

import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

UNANSWERED = b"no answer"
"""Body of a request that a child ends without an answer."""


class FakeChild:
    """Implements `eaves.local.processes.process.Child`.

    Attributes:
        pid: A number.
        code: What it ended with; None while it runs.
        stubborn: Whether it ignores `terminate`.
    """

    def __init__(self, pid: int, code: int | None = None, server: ThreadingHTTPServer | None = None) -> None:
        self.pid = pid
        self.code = code
        self.stubborn = False
        self._server = server

    @property
    def running(self) -> bool:
        return self.code is None

    @property
    def exit_code(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        if not self.stubborn:
            self.end(0)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        self.end(0 if not self.stubborn else -9)

    def end(self, code: int) -> None:
        """End it."""
        if self.code is None:
            self.code = code
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()


class FakeLauncher:
    """Implements `eaves.local.processes.process.Launch`.

    Attributes:
        error: Raised instead of starting anything, when set.
        exit_code: What new children end with at once; None: they run and are ready.
        environs: Environments given, of each module the newest.
        count: Children asked for so far.
        children: Those that ran.
    """

    def __init__(self, *, exit_code: int | None = None, error: Exception | None = None) -> None:
        self.exit_code = exit_code
        self.error = error
        self.environs: dict[str, Mapping[str, str]] = {}
        self.count = 0
        self.children: list[FakeChild] = []
        self._pids = itertools.count(100_000)

    def __call__(
        self,
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> FakeChild:
        self.count += 1
        self.environs[module] = environ
        if self.error is not None:
            raise self.error
        if self.exit_code is not None:
            return FakeChild(next(self._pids), self.exit_code)
        server = _serve(int(environ["PORT"])) if "PORT" in environ else None
        child = FakeChild(next(self._pids), server=server)
        self.children.append(child)
        return child


def _serve(port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"ready")

        def do_POST(self) -> None:
            if self.rfile.read(int(self.headers.get("Content-Length", 0))) == UNANSWERED:
                self.close_connection = True
                return
            self._answer(json.dumps({"port": port}).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server
