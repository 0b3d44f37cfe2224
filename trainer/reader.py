"""Serves the run at PLACE over HTTP: `python -P -m trainer.reader PLACE`.

A short-lived pod runs it beside a volume that no other process can reach; requests come through the API server's
proxy. Manifests of such pods name this module. It serves the files that run.json names, piece by piece, to clients with
a token. After a broken connection, only one piece is sent again. The token is in a header because URLs are written to
the API server's audit log.
"""

from __future__ import annotations

import hmac
import json
import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import click

from eaves import logs
from eaves.errors import StorageError
from eaves.options import report_errors
from trainer.run.run import MANIFEST
from trainer.storage import FileStore, open_store

PORT = 8080
TOKEN_VARIABLE = "EAVES_READER_TOKEN"  # noqa: S105 - the name of a variable, not a token
TOKEN_HEADER = "Eaves-Reader-Token"  # noqa: S105 - the name of a header, not a token
"""Header that carries the token in each request. The API server consumes `Authorization` and does not pass it on.
Source: Kubernetes, apiserver/pkg/endpoints/filters/authentication.go."""
MAX_PIECE_BYTES = 8 << 20


class RunServer(ThreadingHTTPServer):
    """Serves `GET /NAME?start=N&size=N` with the token in the header `TOKEN_HEADER`.

    Args:
        address: Host and port to listen at.
        store: Storage that holds the run.
        token: Token that a request must carry.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], store: FileStore, token: str) -> None:
        super().__init__(address, _Handler)
        self._store, self._token = store, token

    def read(self, path: str, token: str) -> tuple[HTTPStatus, bytes]:
        """Return the status and body for a request path with a token."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return HTTPStatus.UNAUTHORIZED, b"the token is not the one that this pod was given"
        parts = urlsplit(path)
        query, name = parse_qs(parts.query), unquote(parts.path.removeprefix("/"))
        start, size = (query.get(key, [""])[0] for key in ("start", "size"))
        if not start.isdecimal() or not size.isdecimal():
            return HTTPStatus.BAD_REQUEST, b"start and size are numbers"
        try:
            if name != MANIFEST and name not in json.loads(self._store.read(MANIFEST))["files"]:
                return HTTPStatus.NOT_FOUND, b""
            return HTTPStatus.OK, self._store.read(name, int(start), int(start) + min(int(size), MAX_PIECE_BYTES))
        except StorageError as error:
            absent = not self._store.exists(name)
            return HTTPStatus.NOT_FOUND if absent else HTTPStatus.SERVICE_UNAVAILABLE, error.message.encode()


class _Handler(BaseHTTPRequestHandler):
    server: RunServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, body = self.server.read(self.path, self.headers.get(TOKEN_HEADER, ""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Log nothing; the client reports its own errors."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("place")
@click.option("--port", default=PORT, show_default=True, help="TCP port to listen at.")
def main(place: str, port: int) -> None:
    """Serve the run at PLACE, a path or a URI, to clients that have the token in EAVES_READER_TOKEN."""
    logs.configure()
    token = os.environ.get(TOKEN_VARIABLE, "")
    if len(token) < 16:
        raise click.UsageError(f"{TOKEN_VARIABLE} must hold a token of at least 16 characters")
    with RunServer(("", port), open_store(place), token) as server:
        server.serve_forever()


if __name__ == "__main__":
    report_errors(main)
