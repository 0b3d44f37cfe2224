"""Which events a relay stores for one that arrives, and in which lanes of its spool."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from eaves.delivery.rejection import build_rejection, is_dead_letter, strip
from eaves.errors import ConfigError, Fault
from eaves.events import IMAGE_REJECTED, Event, source_uri
from eaves.link.settings import RelaySettings
from eaves.spool import PutOutcome, Puts, Selection, Spool, WhenFull
from eaves.spool.admin import dead_letter_lane, measure, redrive

ALARMS, ARCHIVE, IMAGES = "alarms", "archive", "images"
CLASSES = (ALARMS, ARCHIVE, IMAGES)
"""Lanes of the events that are forwarded over the link, the most urgent first."""
BROKER = "broker"
"""Lane of the events that are copied to the site's own Broker."""
FROM_BROKER = "/from-broker"
"""Path that the site's own Broker posts to; an event that arrives there is not copied to the Broker again."""
CONFLICT = "an event with the same source and id but other content was received before"
CONFLICT_STATUS = 409
FOREIGN_STATUS = 403
FORMER_SITE = "the event has the former name of this site; give the relay this name and its token again, or delete it"
"""Reason of dead letters from before the site's name changed."""

_log = logging.getLogger(__name__)


class RelayIntake:
    """Stores incoming events in the lanes of the spool. Safe to use from many threads."""

    def __init__(self, settings: RelaySettings, spool: Spool) -> None:
        self._spool = spool
        self._site = settings.site
        self._alarms = settings.alarm_rules()
        self._keeps_images = settings.images == "all"
        self._broker = (BROKER,) if settings.to_broker else ()

    def store(self, events: Iterable[Event], *, from_broker: bool = False) -> None:
        """Store events once; all of them are on disk when this returns.

        An event with the source and id of a different, earlier event becomes a dead letter, because the receiver would
        refuse it and this may be its only copy. It comes, for example, from a sensor that restarts its numbering. An
        event of another site becomes a dead letter too.

        Raises:
            SpoolFullError: When the spool has no room; the sender keeps all of the events.
            SpoolError: When the spool can't be written; the sender keeps all of the events.
        """
        prefix = source_uri(self._site, "")
        own: list[tuple[Event, tuple[str, ...]]] = []
        foreign: list[tuple[Event, tuple[str, ...]]] = []
        for put in (put for event in events for put in self.sort(event, from_broker=from_broker)):
            source = put[0].source
            (own if source.startswith(prefix) and source != prefix else foreign).append(put)
        if foreign:
            reason = f"the source of an event from site {self._site} must begin with {prefix}"
            self._keep_dead(foreign, reason, FOREIGN_STATUS)
        outcomes = self._spool.put_many(own, once=True) if own else ()
        conflicting = [put for put, outcome in zip(own, outcomes, strict=True) if outcome is PutOutcome.CONFLICTING]
        if conflicting:
            self._keep_dead(conflicting, CONFLICT, CONFLICT_STATUS)

    def _keep_dead(self, puts: Puts, reason: str, status: int) -> None:
        self._spool.put_dead([(event, lanes[0]) for event, lanes in puts], reason, status)
        for event, _ in puts:
            text = "kept event %s of %s as a dead letter: %s"
            about = {"event_id": event.id, "source": event.source}
            _log.warning(text, event.id[:64], event.source[:128], reason, extra=about)

    def sort(self, event: Event, *, from_broker: bool = False) -> Puts:
        """Return the events that are stored for one event, each with its lanes.

        An event from the site's own Broker gets no copy for the Broker, as the Broker's subscribers would get every
        event twice.

        A dead letter is stored as an event that gives the reason for the dead letter. Its image is stored too where
        images are forwarded. A dead letter that is no image goes to the archive too, because this may be the only copy.
        """
        original = strip(event)
        if not is_dead_letter(event):
            return self._place(original, () if from_broker else self._broker)
        if original.type == IMAGE_REJECTED:  # a subscriber refused the rejection, which is forwarded without another
            return [(original, (ARCHIVE,))]
        own = self._place(original, ()) if is_image(original) else [(original, (ARCHIVE,))]
        return [*self._place(build_rejection(event, self._site), self._broker), *own]

    def _place(self, event: Event, copies: tuple[str, ...]) -> Puts:
        if is_image(event):
            return [(event, (IMAGES,))] if self._keeps_images else []
        attributes = event.attributes() if self._alarms else {}
        is_alarm = any(rule.items() <= attributes.items() for rule in self._alarms)
        return [(event, (ALARMS if is_alarm else ARCHIVE, *copies))]


def set_apart_former_site(spool: Spool, site: str) -> None:
    """Make dead letters of entries for the link whose events have the site's former name, and queue those of `site`.

    The receiver takes only events of the site that it knows the relay as. When the site gets its former name back, its
    events are queued again.

    Raises:
        ConfigError: When the oldest of them would expire, because the budget of dead letters is too small.
        SpoolError: When the spool can't be written.
    """
    prefix, limits, kept = source_uri(site, ""), spool.limits, spool.dead_bytes()
    if limits.dead_when_full is WhenFull.EXPIRE and kept + spool.size_bytes() > limits.dead_max_bytes:
        waiting = [measure(spool, Selection(lane=lane, state="queued", outside=prefix)) for lane in CLASSES]
        count, size_bytes = (sum(column) for column in zip(*waiting, strict=True))
        if count and kept + size_bytes > limits.dead_max_bytes:
            message = (
                f"{count} events ({size_bytes} bytes) of the site's former name wait, more than dead letters may have"
            )
            hint = "give the relay its former name until they are delivered; or raise spool_dead_max_bytes"
            raise ConfigError([Fault(origin="settings", path="site", message=message)], hint=hint)
    for lane in CLASSES:
        count = dead_letter_lane(spool, lane, FORMER_SITE, outside=prefix)
        if count:
            _log.warning("queue %s: %s; %d events are kept as dead letters", lane, FORMER_SITE, count)
        redrive(spool, Selection(lane=lane, reason=FORMER_SITE, prefix=prefix))


def is_image(event: Event) -> bool:
    """Return whether the content type of an event's data is that of an image."""
    return (event.datacontenttype or "").strip().lower().startswith("image/")
