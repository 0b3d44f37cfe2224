"""Delivery of dead letters to a trigger's dead letter sink, with the attributes that Knative's dispatcher adds.

A dead letter stays in the spool, within the dead letters' budget, until its sink has accepted it. The sink's lane holds
only a note of about a kilobyte that refers to it, and at most `MAX_NOTES` notes, so a sink that is down for a month
takes about 15 MB of the room for images.
When the broker is killed between the sink's response and the deletion, it sends the dead letter again.

Source: knative/eventing, pkg/kncloudevents/event_dispatcher.go, dispatchExecutionInfoTransformers, and
attributes/knative_error.go.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from eaves.base.backoff import Backoff
from eaves.delivery import AttemptResult, Deliverer, DeliveryAction, SinkResponse, choose_action
from eaves.delivery.rejection import CODE, DATA, DESTINATION
from eaves.events import Event
from eaves.local.broker.context import build_headers, detach
from eaves.platform import TriggerSpec
from eaves.spool import Entry, Puts, Selection, Spool
from eaves.spool.admin import drop, list_entries

LANE_PREFIX = "dead-letters/"
MAX_NOTES = 10_000
"""Maximum number of dead letters that wait for one sink; further ones are only kept in the spool."""
PARALLEL = 2
"""Concurrent dead letters to one sink."""
MAX_DATA_CHARACTERS = 1024
"""Maximum base64 characters of the response. Source: KnativeErrorDataExtensionMaxLength."""
NO_ANSWER_CODE = 500
"""Code that Knative's dispatcher records when there was no response."""
NUMBER, NOTED_DESTINATION, NOTED_CODE, NOTED_DATA = "deadnumber", "deaddest", "deadcode", "deaddata"
"""Extensions of a note: the number of its entry, and the data for the sink."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSink:
    """Dead letter sink of one trigger.

    Attributes:
        target: Trigger whose receiver is the sink's address or function.
        send: Delivers one event to the sink, with additional HTTP headers for an HTTP sink.
        give_address: Returns the address of the trigger's own subscriber, which refused the event.
    """

    target: TriggerSpec
    send: Callable[[Event, Mapping[str, str]], SinkResponse] = field(compare=False)
    give_address: Callable[[], str] = field(compare=False)


def lane_of_sink(app: str, trigger: str) -> str:
    """Return the spool lane of a trigger's dead letter sink."""
    return f"{LANE_PREFIX}{app}/{trigger}"


def build_note(entry: Entry, judged: AttemptResult, address: str) -> Event:
    """Build the note that waits on the sink's lane for a dead letter."""
    answer = judged.answer.body if judged.answer is not None else f"dispatch error: {judged.reason}".encode()
    noted = {
        NUMBER: str(entry.seq),
        NOTED_DESTINATION: address,
        NOTED_CODE: str(judged.status or NO_ANSWER_CODE),
        NOTED_DATA: base64.b64encode(answer[: MAX_DATA_CHARACTERS // 4 * 3]).decode(),
    }
    return replace(entry.event, data=b"", extensions={name: value for name, value in noted.items() if value})


def build_letter(event: Event, note: Event) -> Event:
    """Build the event for the sink. Attributes of an earlier broker are kept, as with sdk-go's AddExtension."""
    names = {DESTINATION: NOTED_DESTINATION, CODE: NOTED_CODE, DATA: NOTED_DATA}
    added = {name: note.extensions[noted] for name, noted in names.items() if noted in note.extensions}
    sent = detach(event)
    return sent.with_extensions(**{name: value for name, value in added.items() if not sent.extensions.get(name)})


def report_to_sink(spool: Spool, lane: str, sink: DeadLetterSink, entry: Entry, judged: AttemptResult) -> Puts:
    """Return the note for the sink's lane, stored in the transaction that makes the dead letter."""
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
        of_trigger: Lane with the dead letters.
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
        """Release the note of a dead letter that the sink refuses; the dead letter itself is kept."""
        return [(entry.event, ())]

    return Deliverer(
        spool,
        lane,
        send,
        backoff=replace(backoff, retry=None),
        parallel=PARALLEL,
        on_dead=keep,
        wait_out=True,
    )
