"""HTTP server that takes a store's notifications and passes their keys on as hints."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

from eaves.credentials.folder import TOKEN, read_credentials
from eaves.errors import EventError
from eaves.ingress import IngressLimits, IngressServer, Request, Response, answer_problem
from eaves.sources.s3.hints import Hints
from eaves.sources.s3.notification import MAX_BYTES, parse_notification

TAKEN = Response(status=200)
"""Response to a notification. It is sent before the object is captured: if the process ends before that, the next pass
over the bucket finds the object."""
_LIMITS = IngressLimits(max_bytes=MAX_BYTES, in_flight_bytes=4 * MAX_BYTES, connections=32)


def open_webhook(host: str, port: int, serve: Callable[[Request], Response]) -> IngressServer:
    """Listen for notifications.

    Args:
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        serve: Answers the requests, a `WebhookRoute`.

    Raises:
        ConfigError: When the server can't listen on the address.
    """
    return IngressServer(serve, limits=_LIMITS, host=host, port=port, name="webhook")


class WebhookRoute:
    """Answers POST at any path.

    Without a token in the credentials every request is refused, because a notification makes the source send requests.

    Args:
        hints: Keys that wait for the source.
        bucket: Name of the bucket.
        prefix: Text with which the keys begin.
        credentials: Folder with the file `token`, which is read at each request; None refuses every request.
    """

    def __init__(self, hints: Hints, *, bucket: str, prefix: str, credentials: Path | None) -> None:
        self._hints = hints
        self._bucket = bucket
        self._prefix = prefix
        self._credentials = credentials

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if not self._knows(request.headers.get("authorization", "")):
            hint = f"send the token in the file {TOKEN} of the source's credentials: Authorization: Bearer TOKEN"
            return answer_problem(401, "the request has no valid token", hint, WWW_Authenticate="Bearer")
        request.admit()
        if request.method in ("GET", "HEAD"):  # MinIO tests whether the endpoint answers
            return TAKEN
        if request.method != "POST":
            return answer_problem(405, "only POST with a notification is supported", Allow="POST")
        try:
            keys = parse_notification(request.read_body(MAX_BYTES), bucket=self._bucket, prefix=self._prefix)
        except ValueError as error:
            raise EventError(f"the notification can't be read: {error}"[:256]) from error
        self._hints.offer(keys)
        return TAKEN

    def _knows(self, header: str) -> bool:
        """Return whether a header Authorization has the token; MinIO sends it with or without `Bearer`."""
        token = read_credentials(self._credentials).token
        given = header.removeprefix("Bearer ").strip()
        return bool(token) and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
