"""Delivery of dead letters to a trigger's dead letter sink, with the attributes that Knative's dispatcher adds.

A dead letter stays in the spool, within the disk budget of dead letters, until its sink has accepted it. The sink's
lane holds only notes that refer to dead letters. A note has about a kilobyte and a lane has at most `MAX_NOTES` of
them, so a sink that is down for a month takes about 15 MB of the room for images. When the broker is killed after the
sink's response and before the dead letter is deleted, the restarted broker sends the dead letter again.

Source: knative/eventing, pkg/kncloudevents/event_dispatcher.go, dispatchExecutionInfoTransformers, and
attributes/knative_error.go.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from eaves.base.backoff import Backoff
from eaves.delivery import AttemptResult, Deliverer, DeliveryAction, EventSender, SinkResponse, choose_action
from eaves.delivery.rejection import CODE, DATA, DESTINATION
from eaves.events import Event
from eaves.local.broker.context import build_headers, detach
from eaves.platform import TriggerSpec
from eaves.spool import Entry, Puts, Selection, Spool
from eaves.spool.admin import drop, list_entries

SINK = "dead-letters"
"""First part of the name of a sink's lane, before that of the app."""
MAX_NOTES = 10_000
"""Maximum number of dead letters that wait for delivery to one sink; further ones are kept in the spool and not
sent."""
PARALLEL = 2
"""Maximum number of concurrent deliveries to one dead letter sink."""
MAX_DATA_CHARACTERS = 1024
"""Maximum number of base64 characters of the subscriber's response that a dead letter records. Source:
KnativeErrorDataExtensionMaxLength."""
NO_ANSWER_CODE = 500
"""Status code that a dead letter records when the subscriber gave no response. Knative's dispatcher records the
same code."""
NUMBER = "deadnumber"
"""Extension attribute of a note: number of the dead letter's entry in the spool."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSink:
    """Dead letter sink of one trigger.

    Attributes:
        target: Spec of a trigger whose subscriber is the sink, so that the sink is reached like a subscriber.
        send: Delivers one event to the sink, with additional HTTP headers for an HTTP sink.
        give_address: Returns the address of the subscriber to which the event could not be delivered.
    """

    target: TriggerSpec
    send: Callable[[Event, Mapping[str, str]], SinkResponse] = field(compare=False)
    give_address: Callable[[], str] = field(compare=False)


def lane_of_sink(app: str, trigger: str) -> str:
    """Return the spool lane of a trigger's dead letter sink."""
    return f"{SINK}/{app}/{trigger}"


def build_note(entry: Entry, judged: AttemptResult, address: str) -> Event:
    """Build the note about a dead letter that is queued in the sink's lane in place of the dead letter itself."""
    answer = judged.answer.body if judged.answer is not None else f"dispatch error: {judged.reason}".encode()
    noted = {
        NUMBER: str(entry.seq),
        DESTINATION: address,
        CODE: str(judged.status or NO_ANSWER_CODE),
        DATA: base64.b64encode(answer[: MAX_DATA_CHARACTERS // 4 * 3]).decode(),
    }
    return replace(entry.event, data=b"", extensions={name: value for name, value in noted.items() if value})


def build_letter(event: Event, note: Event) -> Event:
    """Build the event for the sink: the dead letter with the destination, status code and response in its note.

    Such attributes that an earlier broker has set are kept, as sdk-go's AddExtension keeps them.
    """
    sent, noted = detach(event), note.extensions
    wanted = [name for name in (DESTINATION, CODE, DATA) if name in noted and not sent.extensions.get(name)]
    return sent.with_extensions(**{name: noted[name] for name in wanted})


def report_to_sink(spool: Spool, lane: str, sink: DeadLetterSink, entry: Entry, judged: AttemptResult) -> Puts:
    """Return the note about a new dead letter for the sink's lane; none when the lane is full.

    The caller stores the note in the transaction that makes the dead letter.
    """
    if spool.counts().get(lane, (0, 0))[0] >= MAX_NOTES:
        _log.warning(
            "queue %s: %d dead letters wait to be sent to their sink; event %s is kept in this queue only",
            lane,
            MAX_NOTES,
            entry.event.id[:64],
        )
        return []
    return [(build_note(entry, judged, sink.give_address()), (lane,))]


def build_sink_deliverer(spool: Spool, lane: str, of_trigger: str, sink: DeadLetterSink, backoff: Backoff) -> Deliverer:
    """Build the deliverer that sends a trigger's dead letters to its sink, with unlimited retries.

    Args:
        spool: Spool with the notes and dead letters.
        lane: Lane of the sink.
        of_trigger: Lane of the trigger, whose dead letters are sent.
        sink: The sink.
        backoff: Pauses of the trigger; its number of retries is ignored.
    """

    def send(note: Event) -> SinkResponse:
        number = int(note.extensions[NUMBER])
        chosen = Selection(seqs=(number,), lane=of_trigger, state="dead", after=number - 1)
        found = list_entries(spool, chosen, limit=1)
        letter = spool.get(number)
        if letter is None or [(one.source, one.event_id) for one in found] != [(note.source, note.id)]:
            return SinkResponse(status=202)  # it has expired, or was dropped or queued again
        answer = sink.send(build_letter(letter.event, note), build_headers(letter.event))
        if choose_action(answer.status) is not DeliveryAction.DONE:
            return answer
        drop(spool, chosen)
        return SinkResponse(status=202)

    def keep(entry: Entry, _: AttemptResult) -> Puts:
        """Keep a dead letter that the sink refuses, and release only the note about it."""
        return [(entry.event, ())]

    return Deliverer(
        spool,
        lane,
        EventSender(send, parallel=PARALLEL),
        backoff=replace(backoff, retry=None),
        on_dead=keep,
    )
