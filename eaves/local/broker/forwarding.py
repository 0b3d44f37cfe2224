"""Events that the broker sends to an app's relay: predictions, their images, and rejected events."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.delivery.rejection import build_refusal
from eaves.events import IMAGE_REJECTED, Event, source_uri
from eaves.platform import RELAY, AppSpec, RelaySpec, TriggerSpec
from eaves.platform.relay import ALL, LOW, NONE
from eaves.relay.intake import is_image


def build_relay_trigger(app: AppSpec) -> TriggerSpec:
    """Build the trigger of an app's relay, which gets every event that the app's function emits."""
    return TriggerSpec(name=RELAY, filter={"source": source_uri(app.function.site, app.function.name)})


def wants_cause(relay: RelaySpec, cause: Event, reply: Event) -> bool:
    """Return whether the relay also gets the image that a prediction was made from."""
    if not is_image(cause):
        return False
    return relay.images == ALL or (relay.images == LOW and reply.extensions.get("confidence") == "low")


def list_rejected(relay: RelaySpec, site: str, trigger: str, event: Event, status: int, reason: str) -> Iterator[Event]:
    """Yield the events that tell the relay about a dead letter, as a Knative dead letter sink would get them.

    Args:
        relay: Spec of the relay, which says whether images are forwarded.
        site: Name of the site.
        trigger: Name of the trigger whose delivery failed.
        event: The event that became a dead letter.
        status: HTTP status of the last response; 0 when there was no response.
        reason: Why the delivery failed.
    """
    if event.type != IMAGE_REJECTED:  # a subscriber's refusal of a rejection is not a second one
        yield build_refusal(event, site, by=trigger, status=status, reason=reason)
    if relay.images != NONE or not is_image(event):
        yield event
