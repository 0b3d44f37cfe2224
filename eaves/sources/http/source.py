"""The http source: request, identify and capture pictures; wait for a missing camera and for a full queue.

The position of a picture is the digest of its bytes together with the validator that came with them: its ETag, else its
Last-Modified, else the time at which these bytes were first seen. The digest is always part of it, because some cameras
send one ETag or one Last-Modified forever, and with these alone every picture after the first would count as sent.
Bytes and validators that equal those of the picture before are the same picture: a camera's noise makes two pictures
that are equal to the last bit practically impossible.

The capture time is Last-Modified as long as it changes with the picture, else the time of the answer.
"""

from __future__ import annotations

import hashlib
from email.utils import parsedate_to_datetime

from eaves.errors import ConfigError
from eaves.link.client import CredentialedClient
from eaves.sources.context import Frame, SourceContext
from eaves.sources.http.client import NoSnapshotError, Snapshot, SnapshotClient
from eaves.sources.http.kind import HttpSourceSettings
from eaves.sources.retry import capture_when_possible, repeat

MAX_AHEAD_S = 60.0
"""Maximum time that Last-Modified may be ahead of this machine's clock, seconds. If it is more, the camera's clock is
wrong and Last-Modified isn't used as capture time."""


class HttpSource:
    """Requests one picture from one server at an interval.

    Args:
        settings: Picture to request, and the interval.
        context: Interface to the agent.
    """

    def __init__(self, settings: HttpSourceSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._identity = SnapshotIdentity()
        self._clients = CredentialedClient(context.credentials, proxies=context.proxies)
        self._client: SnapshotClient | None = None
        self._due = context.clock.monotonic()

    def run(self) -> None:
        """Request pictures until the agent stops."""
        context, every_s = self._context, self._settings.every_s
        unavailable = (NoSnapshotError, ConfigError)
        try:
            with context.on_stop(self._clients.abort):
                repeat(context, self._poll, unavailable, min_pause_s=every_s, is_changed=self._clients.is_changed)
        finally:
            self._clients.close()

    def _poll(self) -> float:
        """Request one picture and capture it; return the seconds until the next request."""
        context, clock = self._context, self._context.clock
        self._due = max(self._due + self._settings.every_s, clock.monotonic())
        try:
            snapshot = self._connect().fetch()
        except NoSnapshotError as error:
            if error.cause is not None and not context.stopping:
                context.drop(error.cause)
            raise
        context.report("watching")
        found = self._identity.identify(snapshot, clock.now())
        if found is None:
            context.drop("duplicate")
        else:
            position, captured_at_ns = found
            # The path of an address may hold a password, which would go with each event.
            frame = Frame(data=snapshot.data, position=position, subject=context.name, captured_at_ns=captured_at_ns)
            if capture_when_possible(context, frame) is not None:
                context.report("watching")
        return max(0.0, self._due - clock.monotonic())

    def _connect(self) -> SnapshotClient:
        """Return the client, or a new one when the files of the credentials have changed."""
        http, _ = self._clients.current()
        if self._client is None or self._client.http is not http:
            self._client = SnapshotClient(self._settings, self._context, self._clients.credentials, http)
        return self._client


class SnapshotIdentity:
    """Gives each picture of one source its position and its capture time. Only the last picture is remembered."""

    def __init__(self) -> None:
        self._last = ("", "", "")
        self._first_seen_s = 0.0

    def identify(self, snapshot: Snapshot, now_s: float) -> tuple[str, int] | None:
        """Return the position and the capture time (nanoseconds since 1970) of a picture; None for a repeated one."""
        digest = hashlib.sha256(snapshot.data).hexdigest()
        etag, modified = (snapshot.headers.get(name, "").strip() for name in ("etag", "last-modified"))
        last, self._last = self._last, (digest, etag, modified)
        if self._last == last:
            return None
        if digest != last[0]:
            self._first_seen_s = now_s
        validator = f"etag {etag}" if etag else f"modified {modified}"
        if not etag and not modified:
            validator = f"seen {round(self._first_seen_s * 1e9)}"
        moment_s = _parse_date(modified)
        if modified == last[2] or not 0 < moment_s <= now_s + MAX_AHEAD_S:
            moment_s = now_s
        return f"{snapshot.url}\0{digest}\0{validator}", round(moment_s * 1e9)


def _parse_date(text: str) -> float:
    """Return a date in Unix seconds; 0 for a text that is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError):
        return 0.0
