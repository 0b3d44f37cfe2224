"""Announcement of a published model with the event `dev.eaves.model.published.v1`.

The event is built only from the model's own data, so when the publication is repeated, the same event is sent again.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable

from eaves.artifact import Artifact
from eaves.base.backoff import Backoff
from eaves.delivery import DeliveryAction, SinkClient, choose_action
from eaves.delivery.response_rules import describe_response
from eaves.errors import DeliveryError
from eaves.event_schemas import schema_uri
from eaves.events import MODEL_PUBLISHED, Event, event_id, source_uri

BACKOFF = Backoff(retry=8, first_s=1.0, cap_s=60.0)
"""Retries over about three minutes, in which a broker that restarts becomes available again."""
TIMEOUT_S = 30.0


def build_publication(artifact: Artifact, image: str, *, site: str) -> Event:
    """Build the event for a model whose container image is at the registry.

    Args:
        artifact: The artifact in the container image.
        image: The container image by digest, `HOST/REPOSITORY@sha256:...`.
        site: Name of the site, for the event's source.
    """
    manifest = artifact.manifest
    source = source_uri(site, manifest.name)
    about = {
        "image": image,
        "artifact": f"sha256:{artifact.digest}",
        "model": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "precision": manifest.precision,
    }
    return Event(
        id=event_id(source, image),
        source=source,
        type=MODEL_PUBLISHED,
        data=json.dumps(about, ensure_ascii=False).encode(),
        datacontenttype="application/json",
        dataschema=schema_uri(MODEL_PUBLISHED),
        subject=manifest.name,
        extensions={"model": manifest.name, "modelversion": manifest.version},
    )


def announce(
    event: Event,
    url: str,
    client: SinkClient,
    *,
    what: str = "about the published model",
    hint: str = "the container image is in the registry; correct the sink, then run the same command again",
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Send the event until the sink accepts it; `pause` waits for a number of seconds before each retry.

    Raises:
        DeliveryError: When the sink refuses the event, or doesn't accept it within all retries.
    """
    for failures in itertools.count(1):
        retry_after_s = None
        try:
            answer = client.post(url, event, prefer_reply=False, timeout_s=TIMEOUT_S)
            decided, retry_after_s = choose_action(answer.status), answer.retry_after_s
            failure = f"{url} {describe_response(answer.status, answer.body)}"
        except DeliveryError as error:
            decided, failure = DeliveryAction.RETRY, error.message
        if decided is DeliveryAction.DONE:
            return
        if decided is DeliveryAction.REFUSED or BACKOFF.exhausted(failures):
            raise DeliveryError(
                f"the event {what} was not accepted: {failure}",
                hint=hint,
            )
        pause(BACKOFF.pause_s(failures, jitter=random.random(), retry_after_s=retry_after_s))  # noqa: S311 - jitter
