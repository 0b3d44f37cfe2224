"""Main loop of the http source: request, check, capture; wait for a missing camera and for a full queue."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eaves.base.backoff import Backoff
from eaves.credentials.folder import Credentials, read_credentials
from eaves.credentials.placeholders import fill_in
from eaves.errors import ConfigError, Fault
from eaves.http_client.pools import HttpClient
from eaves.sources.context import SourceContext
from eaves.sources.frame import Frame
from eaves.sources.http.client import NoSnapshotError, RefusedLoginError, SnapshotClient
from eaves.sources.http.kind import HttpSourceSettings
from eaves.sources.http.login import Authentication
from eaves.sources.http.snapshot_identity import SnapshotIdentity
from eaves.sources.spool_refusal import capture_when_possible

RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a server that gives no picture; a longer `every_s` takes precedence."""
LOGIN_S = 300.0
"""Pause after the server refused the password, seconds. Many cameras lock an account after five wrong passwords within
some minutes."""
LOOK_S = 2.0
"""Interval at which the source checks for new credentials while a server gives no picture, seconds."""


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
        self._connection: CameraLogin | None = None
        self._failures = 0

    def run(self) -> None:
        """Request pictures until the agent stops."""
        try:
            with self._context.on_stop(self._abort):
                self._run()
        finally:
            self._close()

    def _run(self) -> None:
        context, every_s = self._context, self._settings.every_s
        due = context.clock.monotonic()
        while not context.stopping:
            pause_s = self._poll()
            now = context.clock.monotonic()
            if pause_s:
                due = now + max(every_s, pause_s)
                self._rest(due)
            else:
                due = max(due + every_s, now)
                context.wait(due - now)

    def _poll(self) -> float:
        """Request one picture; return the minimum pause before the next request, seconds, 0 when it succeeded."""
        context = self._context
        try:
            client = self._connect()
            conditions = self._identity.conditions(context.clock.monotonic())
            snapshot = client.fetch(conditions, context.clock.now())
        except (NoSnapshotError, ConfigError) as error:
            if context.stopping:
                return 0.0
            return self._fail(error)
        if self._failures:
            self._failures = 0
            context.reconnected()
        context.report("watching")
        if snapshot is None:
            return 0.0
        found = self._identity.identify(snapshot, context.clock.now())
        if found is None:
            context.drop("duplicate")
            return 0.0
        position, captured_at_ns = found
        # The path of an address may hold a password, which would go with each event.
        self._capture(Frame(data=snapshot.data, position=position, subject=context.name, captured_at_ns=captured_at_ns))
        return 0.0

    def _fail(self, error: NoSnapshotError | ConfigError) -> float:
        self._failures += 1
        if isinstance(error, NoSnapshotError) and error.cause is not None:
            self._context.drop(error.cause)
        self._context.report("waiting", error.message)
        if isinstance(error, RefusedLoginError):
            return LOGIN_S
        retry_after_s = error.retry_after_s if isinstance(error, NoSnapshotError) else None
        return RETRY.pause_s(self._failures, jitter=random.random(), retry_after_s=retry_after_s)  # noqa: S311

    def _rest(self, until: float) -> None:
        """Wait after a failure until a monotonic time, seconds, and return earlier when the credentials change."""
        context = self._context
        while (left_s := until - context.clock.monotonic()) > 0 and context.wait(min(left_s, LOOK_S)):
            try:
                if self._connection is None or self._connection.outdated(read_credentials(context.credentials)):
                    return
            except ConfigError:
                continue

    def _capture(self, frame: Frame) -> None:
        """Store a frame, and retry while the queue is full; count pictures that are due meanwhile as dropped."""
        context, every_s = self._context, self._settings.every_s
        began = context.clock.monotonic()

        def count_missed() -> None:
            nonlocal began
            passed = int((context.clock.monotonic() - began) / every_s)
            if passed:
                began += passed * every_s
                context.drop("spool_full", passed)

        if capture_when_possible(context, frame, count_missed) is not None:
            context.report("watching")

    def _connect(self) -> SnapshotClient:
        """Return the HTTP client, or a new one when the files of the credentials have changed."""
        credentials = read_credentials(self._context.credentials)
        if self._connection is None or self._connection.outdated(credentials):
            self._close()
            self._connection = CameraLogin(self._settings, self._context, credentials)
        return self._connection.client

    def _abort(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.client.abort()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.http.close()
            self._connection = None


class CameraLogin:
    """An HTTP client for a camera, and the credentials with which it was built.

    Args:
        settings: Settings of the source.
        context: Interface to the agent.
        credentials: Credentials from the files; when they have no user name, that in the URL is used.

    Raises:
        ConfigError: When a certificate of the credentials can't be used.
    """

    def __init__(self, settings: HttpSourceSettings, context: SourceContext, credentials: Credentials) -> None:
        self._credentials, self._versions = credentials, _versions(credentials)
        pair = (credentials.certificate, credentials.key)
        try:
            self.http = HttpClient(
                proxies=context.proxies,
                ca_certs_pem=credentials.authorities_pem,
                certificate=(pair[0], pair[1]) if pair[0] and pair[1] else None,
                connections=1,
            )
        except ValueError as error:
            fault = Fault(origin="credentials", path=str(context.credentials), message=str(error))
            raise ConfigError([fault], hint=f"ls -l {context.credentials}") from error
        url = fill_in(settings.url, credentials)
        parts = urlsplit(url)
        username, password = credentials.username, credentials.password
        if not username:
            username, password = unquote(parts.username or ""), unquote(parts.password or "")
        self.client = SnapshotClient(
            url,
            template=settings.url,
            secrets=(credentials.password, password),
            http=self.http,
            authentication=Authentication(username, password),
            timeout_s=settings.timeout_s,
            max_bytes=context.max_bytes,
        )

    def outdated(self, credentials: Credentials) -> bool:
        """Return whether the credentials differ from those with which the client was built."""
        return credentials != self._credentials or _versions(credentials) != self._versions


def _versions(credentials: Credentials) -> list[int]:
    """Return the modification times of the certificate and key file, nanoseconds since 1970.

    OpenSSL reads these two files itself, so their content can't be compared.
    """
    files: list[Path] = [file for file in (credentials.certificate, credentials.key) if file is not None]
    try:
        return [file.stat().st_mtime_ns for file in files]
    except OSError:
        return []
