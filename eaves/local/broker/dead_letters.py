"""Dead letters on their way to a trigger's dead letter sink, with what Knative's dispatcher adds to them.

A dead letter stays in the spool, within the dead letters' budget, until its sink has taken it. On the sink's lane waits
only a note of about a kilobyte that names it, and at most `MAX_NOTES` of them, so a sink that is away for a month takes
about 15 MB from the room of good images.
Killed between the sink's answer and the deletion, the broker sends the dead letter again.

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
"""Most dead letters that wait for one sink; what is given up on beyond them is only kept here."""
PARALLEL = 2
"""Dead letters sent to one sink at the same time."""
MAX_DATA_CHARACTERS = 1024
"""Of the answer, in base64. Source: KnativeErrorDataExtensionMaxLength."""
NO_ANSWER_CODE = 500
"""What Knative's dispatcher notes where there was no answer."""
NUMBER, NOTED_DESTINATION, NOTED_CODE, NOTED_DATA = "deadnumber", "deaddest", "deadcode", "deaddata"
"""Extensions of a note: the entry that it names, and what the sink is told about it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSink:
    """Where the dead letters of one trigger go.

    Attributes:
        target: Its address or function, as that of a trigger.
        send: Delivers one event to it, with more HTTP headers where it takes HTTP.
        give_address: Gives the address that refused: that of the trigger's own subscriber.
    """

    target: TriggerSpec
    send: Callable[[Event, Mapping[str, str]], SinkResponse] = field(compare=False)
    give_address: Callable[[], str] = field(compare=False)


def lane_of_sink(app: str, trigger: str) -> str:
    """The spool lane of a trigger's dead letter sink."""
    return f"{LANE_PREFIX}{app}/{trigger}"


def build_note(entry: Entry, judged: AttemptResult, address: str) -> Event:
    """What waits on the sink's lane for a dead letter."""
    answer = judged.answer.body if judged.answer is not None else f"dispatch error: {judged.reason}".encode()
    told = {
        NUMBER: str(entry.seq),
        NOTED_DESTINATION: address,
        NOTED_CODE: str(judged.status or NO_ANSWER_CODE),
        NOTED_DATA: base64.b64encode(answer[: MAX_DATA_CHARACTERS // 4 * 3]).decode(),
    }
    return replace(entry.event, data=b"", extensions={name: value for name, value in told.items() if value})


def build_letter(event: Event, note: Event) -> Event:
    """A dead letter as its sink gets it. What an earlier broker has noted stays, as with sdk-go's AddExtension."""
    names = {DESTINATION: NOTED_DESTINATION, CODE: NOTED_CODE, DATA: NOTED_DATA}
    told = {name: note.extensions[noted] for name, noted in names.items() if noted in note.extensions}
    sent = detach(event)
    return sent.with_extensions(**{name: value for name, value in told.items() if not sent.extensions.get(name)})


def tell_sink(spool: Spool, lane: str, sink: DeadLetterSink, entry: Entry, judged: AttemptResult) -> Puts:
    """What is put on the sink's lane, in the commit that makes the dead letter."""
    if spool.counts().get(lane, (0, 0))[0] >= MAX_NOTES:
        _log.warning("queue %s: %d dead letters wait; event %s is only kept here", lane, MAX_NOTES, entry.event.id[:64])
        return []
    return [(build_note(entry, judged, sink.give_address()), (lane,))]


def build_sink_deliverer(spool: Spool, lane: str, of_trigger: str, sink: DeadLetterSink, backoff: Backoff) -> Deliverer:
    """What sends the dead letters of a trigger to its sink, for as long as that takes.

    Args:
        spool: Holds notes and dead letters.
        lane: The sink's.
        of_trigger: The lane that has the dead letters.
        sink: The sink.
        backoff: The trigger's pauses; its number of retries doesn't count here.
    """

    def send(note: Event) -> SinkResponse:
        number = int(note.extensions[NUMBER])
        chosen = Selection(seqs=(number,), lane=of_trigger, state="dead", after=number - 1)
        found = list_entries(spool, chosen, limit=1)
        letter = spool.get(number)
        if letter is None or [(one.source, one.event_id) for one in found] != [(note.source, note.id)]:
            return SinkResponse(status=202)  # it has expired, or somebody has dropped it or queued it again
        answer = sink.send(build_letter(letter.event, note), build_headers(letter.event))
        if choose_action(answer.status) is not DeliveryAction.DONE:
            return answer
        drop(spool, chosen)
        return SinkResponse(status=202)

    def keep(entry: Entry, _: AttemptResult) -> Puts:
        """Release the note of a dead letter that the sink doesn't take: the dead letter stays here."""
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
