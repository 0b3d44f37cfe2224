"""Telling others that a model's container image is at a registry: `dev.eaves.model.published.v1`.

The event is made of what it is about and nothing else, so a step that is repeated sends the same one again.
"""

from __future__ import annotations

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
"""About three minutes: a broker that is restarted is back by then."""
TIMEOUT_S = 30.0


def build_publication(artifact: Artifact, image: str, *, site: str) -> Event:
    """The event that says: this model's container image is there.

    Args:
        artifact: What it holds.
        image: Its name by digest, `HOST/REPOSITORY@sha256:...`.
        site: In the event's source.
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
    backoff: Backoff = BACKOFF,
    pause: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] = lambda text: None,
) -> None:
    """Send it until it is taken.

    Args:
        event: From `build_publication`.
        url: The sink.
        client: Sends.
        backoff: How often, how long apart.
        pause: Waits so many seconds.
        say: Told what failed, before each wait.

    Raises:
        DeliveryError: It was refused, or not taken in all that time.
    """
    failures = 0
    while True:
        retry_after_s = None
        try:
            answer = client.post(url, event, prefer_reply=False, timeout_s=TIMEOUT_S)
            decided = choose_action(answer.status)
            if decided is DeliveryAction.DONE:
                return
            told, retry_after_s = f"{url} {describe_response(answer.status, answer.body)}", answer.retry_after_s
        except DeliveryError as error:
            decided, told = DeliveryAction.RETRY, error.message
        failures += 1
        if decided is DeliveryAction.REFUSED or backoff.exhausted(failures):
            raise DeliveryError(
                f"the event that the model is published was not taken: {told}",
                hint="the container image is at the registry; mend the sink, then run the same command again",
            )
        say(f"{told}; trying again")
        pause(backoff.pause_s(failures, jitter=random.random(), retry_after_s=retry_after_s))  # noqa: S311 - jitter
