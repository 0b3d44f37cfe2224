"""Deliverers of an agent's spool: images to the function, predictions to the sink."""

from __future__ import annotations

from collections.abc import Mapping

from eaves.base.backoff import Backoff
from eaves.credentials.folder import read_authorization
from eaves.credentials.redact import redact
from eaves.delivery import AttemptResult, Deliverer, EventSender, SinkClient, SinkResponse
from eaves.delivery.rejection import build_refusal
from eaves.errors import ConfigError, UnreachableError
from eaves.events import Event
from eaves.link.client import CredentialedClient
from eaves.sources.agent_lanes import IMAGES, REPLIES
from eaves.sources.settings import AgentSettings
from eaves.spool import Entry, Puts, Spool

OVER_LINK = Backoff(retry=None, first_s=0.5, cap_s=5.0)
"""Pauses between attempts to reach a function behind the link. They are as short as those of a relay, so that a link
that is up for only ten seconds of every thirty is used."""
NO_SINK = "the address of the sink is unknown: K_SINK is not set, so the SinkBinding is missing or finds no Broker"
LOW = "low"
"""Value of the extension attribute `confidence` of an uncertain prediction."""


def build_deliverers(
    settings: AgentSettings,
    spool: Spool,
    client: SinkClient,
    overrides: Mapping[str, str],
    function_client: CredentialedClient | None = None,
) -> list[Deliverer]:
    """Build the deliverers: images go to the function and its predictions to the sink.

    Without a function, images go to the sink.

    An image is released in the commit that stores its prediction, so neither a link nor a broker that is down loses it.
    The commit that makes a dead letter of an image also queues an event about it for the sink, because the image itself
    stays on this machine.

    Args:
        settings: Settings of the agent.
        spool: Queue of the agent.
        client: Client for the sink, and for a function without credentials.
        overrides: Extension attributes for every event that goes to the sink.
        function_client: Client for a function that requires credentials.
    """

    def to_sink(event: Event) -> SinkResponse:
        if not settings.sink:
            raise UnreachableError(NO_SINK, hint="check: kubectl get brokers,sinkbindings")
        try:
            headers = read_authorization(settings.sink_token)
        except ConfigError as error:  # for example a file that is being replaced
            raise UnreachableError(error.message, hint=error.hint) from error
        return client.post(settings.sink, event, prefer_reply=False, timeout_s=settings.timeout_s, more_headers=headers)

    def to_function(event: Event) -> SinkResponse:
        if function_client is None:
            return client.post(settings.function, event, prefer_reply=True, timeout_s=settings.timeout_s)
        try:
            own, headers = function_client.current()
        except ConfigError as error:  # for example a Secret that is being renewed
            raise UnreachableError(error.message, hint=error.hint) from error
        return own.post(settings.function, event, prefer_reply=True, timeout_s=settings.timeout_s, more_headers=headers)

    def keep(entry: Entry, reply: Event) -> Puts:
        kept = [(reply.with_extensions(**overrides), (REPLIES,))]
        if _is_forwarded(settings.forward_images, reply):
            kept.append((entry.event, (REPLIES,)))
        return kept

    def report(entry: Entry, judged: AttemptResult) -> Puts:
        by, status, reason = redact(settings.function), judged.status, judged.reason
        refused = build_refusal(entry.event, settings.site, by=by, status=status, reason=reason)
        return [(refused.with_extensions(**overrides), (REPLIES,))]

    patience = Backoff(retry=None, first_s=0.5, cap_s=30.0)
    images = Deliverer(
        spool,
        IMAGES,
        EventSender(
            to_function if settings.function else to_sink,
            parallel=settings.parallel,
            on_reply=keep if settings.function else None,
            reply_required=bool(settings.function),
        ),
        backoff=patience if function_client is None else OVER_LINK,
        report_dead=report if settings.function else None,
        leases=[spool.lease(IMAGES)],
    )
    replies = Deliverer(spool, REPLIES, EventSender(to_sink), backoff=patience, leases=[spool.lease(REPLIES)])
    return [images, replies]


def _is_forwarded(forward_images: str, reply: Event) -> bool:
    """Return whether the setting `forward_images` sends an image to the sink together with its prediction."""
    return forward_images == "all" or (forward_images == LOW and reply.extensions.get("confidence") == LOW)
