"""What empties an agent's spool: images to the function, predictions to the sink."""

from __future__ import annotations

from collections.abc import Mapping

from eaves.backoff import Backoff
from eaves.delivery import Answer, Deliverer, SinkClient
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.sources.lanes import IMAGES, REPLIES
from eaves.sources.settings import AgentSettings
from eaves.spool import Entry, Puts, Spool

NO_SINK = "the sink isn't known: K_SINK is not set, as when the SinkBinding finds no Broker"


def build_deliverers(
    settings: AgentSettings, spool: Spool, client: SinkClient, overrides: Mapping[str, str]
) -> list[Deliverer]:
    """What empties the spool: images to the function, whose predictions go to the sink; without one, images there.

    An image is released in the commit that stores its prediction, so neither a link nor a broker that is down loses it.
    """

    def to_sink(event: Event) -> Answer:
        if not settings.sink:
            raise UnreachableError(NO_SINK, hint="kubectl get brokers,sinkbindings")
        return client.post(settings.sink, event, prefer_reply=False, timeout_s=settings.timeout_s)

    def to_function(event: Event) -> Answer:
        return client.post(settings.function, event, prefer_reply=True, timeout_s=settings.timeout_s)

    def keep(_: Entry, reply: Event) -> Puts:
        return [(reply.with_extensions(**overrides), (REPLIES,))]

    patience = Backoff(retry=None, first_s=0.5, cap_s=30.0)
    images = Deliverer(
        spool,
        IMAGES,
        to_function if settings.function else to_sink,
        backoff=patience,
        parallel=settings.parallel,
        on_reply=keep if settings.function else None,
        reply_required=bool(settings.function),
        lease=spool.lease(IMAGES),
    )
    replies = Deliverer(spool, REPLIES, to_sink, backoff=patience, lease=spool.lease(REPLIES))
    return [images, replies]
