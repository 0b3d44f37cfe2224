"""A registry and a folder of wheels inside a cluster, in memory, with nothing but the standard library.

Under /v2/ it takes and gives container images; PUT /files/NAME keeps a file, GET /files/ lists what `pip --find-links`
reads. Source: OCI distribution-spec 1.1.
"""

import hashlib
import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT = 8080
blobs: dict[str, bytes] = {}
uploads: dict[str, bytes] = {}
manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
tags: dict[str, list[str]] = {}
files: dict[str, bytes] = {}
numbers = itertools.count()
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Content, a list, or where an upload stands."""
        path = urlsplit(self.path).path
        repository, kind, name = self._parts()
        if path == "/files/":
            page = "".join(f'<a href="{file}">{file}</a>\n' for file in sorted(files))
            self._send(200, page.encode(), "text/html")
        elif path.startswith("/files/") and path.removeprefix("/files/") in files:
            self._send(200, files[path.removeprefix("/files/")])
        elif path == "/v2/":
            self._send(200, b"{}", "application/json")
        elif kind == "blobs" and name in blobs:
            self._send(200, blobs[name])
        elif kind == "manifests" and (repository, name) in manifests:
            media_type, content = manifests[repository, name]
            self._send(200, content, media_type)
        elif kind == "tags" and repository in tags:
            self._send(200, json.dumps({"name": repository, "tags": sorted(tags[repository])}).encode())
        else:
            self._send(404, b"")

    def do_HEAD(self) -> None:
        """Answer as GET does, without content."""
        self.do_GET()

    def do_POST(self) -> None:
        """An upload begins."""
        place = f"{urlsplit(self.path).path}{next(numbers)}"
        uploads[place] = b""
        self._send(202, b"", Location=place, Range="0-0")

    def do_PATCH(self) -> None:
        """More of an upload."""
        with lock:
            uploads[self.path] += self._body()
        self._send(202, b"", Location=self.path, Range=f"0-{max(len(uploads[self.path]) - 1, 0)}")

    def do_PUT(self) -> None:
        """The end of an upload, a manifest or a file."""
        parts, content = urlsplit(self.path), self._body()
        repository, kind, name = self._parts()
        if parts.path.startswith("/files/"):
            files[parts.path.removeprefix("/files/")] = content
        elif kind == "blobs":
            blobs[parse_qs(parts.query)["digest"][0]] = uploads.pop(parts.path) + content
        else:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            for known in {digest, name}:
                manifests[repository, known] = self.headers["Content-Type"], content
            if name != digest:
                tags.setdefault(repository, []).append(name)
        self._send(201, b"", Location=parts.path)

    def _parts(self) -> tuple[str, str, str]:
        """Repository, kind and name in a path of the registry's."""
        found = re.fullmatch(r"/v2/(.+)/(blobs|manifests|tags)/(.*)", urlsplit(self.path).path)
        return (found[1], found[2], found[3]) if found else ("", "", "")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, content: bytes, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Nothing: GET tells what is there."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
