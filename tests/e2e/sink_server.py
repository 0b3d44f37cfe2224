"""A subscriber inside a cluster, with nothing but the standard library: it runs in a function's own container image.

POST /NAME records an event; GET /NAME returns what came; PUT /NAME says what to answer (a list, the last one for all
that follow).
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8080
received: dict[str, list[dict[str, Any]]] = {}
answers: dict[str, list[dict[str, Any]]] = {}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Record an event and give the prepared answer."""
        body = self._body()
        headers = dict(self.headers.items())
        with lock:
            got = received.setdefault(self.path, [])
            got.append({"headers": headers, "body": base64.b64encode(body).decode()})
            number = len(got)
            reported = answers.get(self.path) or [{"status": 202}]
        answer = reported[min(number, len(reported)) - 1]
        if answer.get("echo"):
            kept = {name: value for name, value in headers.items() if name.lower().startswith("ce-")}
            kept = {name: f"echo-{number}" if name.lower() == "ce-id" else value for name, value in kept.items()}
            self._send(200, {**kept, "Content-Type": headers.get("Content-Type", "application/json")}, body)
            return
        content_type = answer.get("content_type") or ""
        self._send(
            int(answer["status"]),
            {"Content-Type": content_type} if content_type else {},
            str(answer.get("body", "")).encode(),
        )

    def do_GET(self) -> None:
        """What came so far."""
        with lock:
            content = json.dumps(received.get(self.path, [])).encode()
        self._send(200, {"Content-Type": "application/json"}, content)

    def do_PUT(self) -> None:
        """What to answer from now on; what came before is forgotten."""
        reported = json.loads(self._body())
        with lock:
            answers[self.path] = reported
            received[self.path] = []
        self._send(204, {}, b"")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Nothing: GET says what came."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
