"""Webhook and queue of one source, as far as its settings ask for them."""

from __future__ import annotations

import logging
import threading

from eaves.errors import ConfigError
from eaves.ingress import IngressServer
from eaves.sources.context import SourceContext
from eaves.sources.s3.hints import Hints
from eaves.sources.s3.settings import S3SourceSettings
from eaves.sources.s3.sqs import SqsReader
from eaves.sources.s3.webhook import WebhookRoute, open_webhook

AGAIN_S = 60.0
"""Pause after which the webhook is opened again when its port is taken, seconds."""
STOP_S = 2.0

_log = logging.getLogger(__name__)


class Notifications:
    """Passes the keys in notifications on as hints until it is closed.

    Args:
        settings: Settings of the source.
        context: Interface to the agent.
        hints: Keys that wait for the source.
    """

    def __init__(self, settings: S3SourceSettings, context: SourceContext, hints: Hints) -> None:
        self._settings = settings
        self._context = context
        self._hints = hints
        self._webhook: IngressServer | None = None
        self._retry_at = float("-inf")
        self._fault = ""
        self._reader: SqsReader | None = None
        self._thread: threading.Thread | None = None
        if settings.queue:
            self._reader = SqsReader(
                settings.queue,
                hints=hints,
                location=settings.location,
                name=context.name,
                credentials=context.credentials,
                proxies=context.proxies,
                clock=context.clock,
            )
            self._thread = threading.Thread(target=self._reader.run, name=f"queue {context.name}", daemon=True)

    @property
    def webhook_port(self) -> int:
        """TCP port that the webhook listens on; 0 while it doesn't listen."""
        return self._webhook.port if self._webhook is not None else 0

    def ensure(self) -> None:
        """Start what isn't running yet. A webhook whose port is taken is tried again later."""
        if self._thread is not None and self._thread.ident is None:
            self._thread.start()
        now = self._context.clock.monotonic()
        if not self._settings.webhook_port or self._webhook is not None or now < self._retry_at:
            return
        location = self._settings.location
        route = WebhookRoute(
            self._hints, bucket=location.name, prefix=location.prefix, credentials=self._context.credentials
        )
        try:
            self._webhook = open_webhook(self._settings.webhook_host, self._settings.webhook_port, route)
        except ConfigError as error:
            self._retry_at = now + AGAIN_S
            if error.message != self._fault:
                self._fault = error.message
                _log.error(
                    "source %s takes no notifications, so new images are found by listing only: %s",
                    self._context.name,
                    error.message,
                )

    def stop(self) -> None:
        """End the wait for the queue's messages, from any thread."""
        if self._reader is not None:
            self._reader.stop()

    def close(self) -> None:
        """Stop webhook and queue."""
        self.stop()
        if self._webhook is not None:
            self._webhook.stop()
            self._webhook = None
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(STOP_S)
