"""A small registry in memory, over real HTTP, which does on demand what a real one does on its bad days."""

import hashlib
import json
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One that came in."""

    number: int
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """Method and path, short: `PATCH upload`."""
        kind = next((kind for kind in ("uploads", "blobs", "manifests", "token") if kind in self.path), self.path)
        return f"{self.method} {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered.

    Attributes:
        status: HTTP's; 0: the connection is dropped instead.
        headers: Beside Content-Length.
        body: Content.
        done: Whether the request is done all the same, and only its answer is another.
        sent: How many bytes of the body go out before the connection is dropped; None: all.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    done: bool = False
    sent: int | None = None


@dataclass(slots=True, kw_only=True)
class Content:
    """What a registry has; two may share it."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    repositories: dict[str, set[str]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)


class FakeRegistry:
    """One registry; change its fields to change what it does.

    Attributes:
        fault: Asked first, with every request; what it returns is answered.
        keep: For each PATCH to come, how many bytes of it arrive before the connection breaks; None: all.
        pace: Called with each small piece that arrives; it may take its time.
        auth: `basic` or `bearer` to ask who calls.
        challenge: What it asks for in place of a token for the repository x.
        harbor: Whether it asks by Basic, as Harbor does, when a token isn't valid.
        tokens: That are valid.
        uploads_at: Another server's URL, where uploads go.
        blobs_at: Another server's URL, to which GET of a blob redirects.
        relative: Whether Locations are paths.
        ranges: Whether it answers ranges.
        mounts: Whether it mounts.
    """

    def __init__(self, content: Content | None = None) -> None:
        self.content = content or Content()
        self.log: list[Request] = []
        self.fault: Callable[[Request], Reply | None] = lambda request: None
        self.keep: list[int | None] = []
        self.pace: Callable[[int], object] = lambda size: None
        self.auth = self.challenge = ""
        self.harbor = False
        self.tokens: set[str] = set()
        self.uploads_at = self.blobs_at = ""
        self.relative, self.ranges, self.mounts = False, True, True
        self.url = self.host = ""
        self._lock = threading.Lock()
        self._issued = self._uploads = 0

    def asked(self, what: str) -> list[Request]:
        """The requests of one kind."""
        return [request for request in self.log if request.what == what]

    def answer(self, request: Request) -> Reply:
        """What this request gets."""
        reported = self.fault(request)
        if reported is not None and not reported.done:
            return reported
        with self._lock:
            reply = self._answer(request)
        return reported or reply

    def _answer(self, request: Request) -> Reply:
        if request.path == "/token":
            self._issued += 1
            token = f"token-{self._issued}"
            self.tokens.add(token)
            return Reply(status=200, body=json.dumps({"token": token}).encode())
        if self.auth and not request.path.startswith("/elsewhere/") and not self._is_let_in(request):
            challenge = 'Basic realm="tests"'
            if self.auth == "bearer" and not (self.harbor and "Authorization" in request.headers):
                challenge = (
                    self.challenge or f'Bearer realm="{self.url}/token",service="tests",scope="repository:x:pull"'
                )
            return Reply(status=401, headers={"WWW-Authenticate": challenge})
        if request.method == "POST" and (match := re.fullmatch(r"/v2/(.+)/blobs/uploads/", request.path)):
            return self._begin(request, match[1])
        if match := re.fullmatch(r"/(?:v2|elsewhere)/(.+)/blobs/uploads/([^/]+)", request.path):
            return self._upload(request, match[1], match[2])
        if match := re.fullmatch(r"/(?:v2|elsewhere)/(.+)/blobs/(sha256:[0-9a-f]{64})", request.path):
            return self._blob(request, match[1], match[2])
        if match := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", request.path):
            return self._manifest(request, match[1], match[2])
        return Reply(status=404)

    def _is_let_in(self, request: Request) -> bool:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if self.auth == "basic":
            return kind == "Basic" and secret == "ZWF2ZXM6c2VjcmV0"  # eaves:secret
        return kind == "Bearer" and secret in self.tokens

    def _location(self, repository: str, name: str) -> dict[str, str]:
        path = f"{'elsewhere' if self.uploads_at else 'v2'}/{repository}/blobs/uploads/{name}?state=x"
        base = self.uploads_at or ("" if self.relative else self.url)
        return {"Location": f"{base}/{path}"}

    def _begin(self, request: Request, repository: str) -> Reply:
        mount, source = request.query.get("mount", [""])[0], request.query.get("from", [""])[0]
        if mount and self.mounts and mount in self.content.repositories.get(source, set()):
            self.content.repositories.setdefault(repository, set()).add(mount)
            return Reply(status=201, headers={"Location": f"/v2/{repository}/blobs/{mount}"})
        self._uploads += 1
        name = f"upload-{self._uploads}"
        self.content.uploads[name] = bytearray()
        return Reply(status=202, headers=self._location(repository, name))

    def _upload(self, request: Request, repository: str, name: str) -> Reply:
        content = self.content
        upload = content.uploads.get(name)
        if upload is None:
            return Reply(status=404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}')
        if request.method == "PATCH":
            upload.extend(request.body)
            return Reply(status=202, headers=self._location(repository, name))
        digest = request.query["digest"][0]
        if f"sha256:{hashlib.sha256(upload).hexdigest()}" != digest:
            return Reply(status=400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}')
        content.blobs[digest] = bytes(upload)
        content.repositories.setdefault(repository, set()).add(digest)
        del content.uploads[name]
        return Reply(status=201)

    def _blob(self, request: Request, repository: str, digest: str) -> Reply:
        if digest not in self.content.repositories.get(repository, set()):
            return Reply(status=404)
        if self.blobs_at and request.method == "GET":
            return Reply(status=307, headers={"Location": f"{self.blobs_at}/elsewhere/{repository}/blobs/{digest}"})
        body = self.content.blobs[digest]
        if self.ranges and (match := re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))):
            start = int(match[1])
            span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            return Reply(status=206, headers=span, body=body[start:])
        return Reply(status=200, body=body)

    def _manifest(self, request: Request, repository: str, name: str) -> Reply:
        if request.method == "PUT":
            digest = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
            for one in {name, digest}:
                self.content.manifests[repository, one] = (request.headers["Content-Type"], request.body)
            return Reply(status=201)
        found = self.content.manifests.get((repository, name))
        return (
            Reply(status=404) if found is None else Reply(status=200, headers={"Content-Type": found[0]}, body=found[1])
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry: FakeRegistry

    def handle_any(self) -> None:
        registry, length = self.registry, int(self.headers.get("Content-Length") or 0)
        keep = registry.keep.pop(0) if self.command == "PATCH" and registry.keep else None
        wanted, pieces = length if keep is None else keep, []
        while wanted and (piece := self.rfile.read(min(wanted, 1 << 16))):
            pieces.append(piece)
            wanted -= len(piece)
            registry.pace(len(piece))
        body = b"".join(pieces)
        parts = urlsplit(self.path)
        request = Request(
            number=len(registry.log) + 1,
            method=self.command,
            path=parts.path,
            query=parse_qs(parts.query),
            headers=self.headers,  # type: ignore[arg-type]
            body=body,
        )
        registry.log.append(request)
        if keep is not None:
            # the rest of the content never comes
            registry.content.uploads[request.path.rpartition("/")[2]].extend(body)
            self._drop()
            return
        reply = registry.answer(request)
        if not reply.status:
            self._drop()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.sent])
        if reply.sent is not None:
            self._drop()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def _drop(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    """A server that at its end hangs up on clients that keep their connections, so that no thread waits for them."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._requests: set[Any] = set()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._requests.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._requests.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what some tests are about."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for request in list(self._requests):
            with suppress(OSError):
                socket.socket.shutdown(request, socket.SHUT_RDWR)


@contextmanager
def serve_fake(content: Content | None = None, certificate: tuple[Path, Path] | None = None) -> Iterator[FakeRegistry]:
    """One registry on loopback, with TLS when it gets a certificate and its key."""
    registry = FakeRegistry(content)
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = _Server(handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    registry.url = f"http{'s' if certificate else ''}://{registry.host}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
