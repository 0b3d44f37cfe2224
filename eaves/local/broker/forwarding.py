"""What the broker hands to an app's relay: predictions, images beside them, and what no function took."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.delivery.rejection import build_refusal
from eaves.events import IMAGE_REJECTED, Event, source_uri
from eaves.platform import RELAY, AppSpec, RelaySpec, TriggerSpec
from eaves.platform.relay import ALL, LOW, NONE
from eaves.relay.intake import is_image


def build_relay_trigger(app: AppSpec) -> TriggerSpec:
    """The trigger of an app's relay, which gets every event that the app's function has made."""
    return TriggerSpec(name=RELAY, filter={"source": source_uri(app.function.site, app.function.name)})


def wants_cause(relay: RelaySpec, cause: Event, reply: Event) -> bool:
    """Whether the relay gets the image that a prediction was made of, too."""
    if not is_image(cause):
        return False
    return relay.images == ALL or (relay.images == LOW and reply.extensions.get("confidence") == "low")


def list_rejected(relay: RelaySpec, site: str, trigger: str, event: Event, status: int, reason: str) -> Iterator[Event]:
    """What the relay is told of an event that was given up on, as the dead-letter sink of a Trigger on Knative is.

    Args:
        relay: Says whether images are forwarded.
        site: The site's name.
        trigger: Name of the trigger that gave up.
        event: The event.
        status: HTTP status that decided it, 0 when there was no answer.
        reason: Why.
    """
    if event.type != IMAGE_REJECTED:  # a subscriber doesn't take it: that is no second rejection
        yield build_refusal(event, site, by=trigger, status=status, reason=reason)
    if relay.images != NONE or not is_image(event):
        yield event
