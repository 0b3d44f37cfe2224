"""One delivery attempt: sending an event, and judging the response."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from eaves.delivery.response_rules import (
    ACCEPTED,
    NO_ANSWER,
    Blame,
    DeliveryAction,
    SinkResponse,
    choose_action,
    describe_response,
    find_blame,
    find_store,
    is_fetch_failure,
    shorten,
)
from eaves.errors import DeliveryError, EavesError, UnreachableError
from eaves.events import Event
from eaves.spool import Entry, Puts

JUNK_STATUS = 502
"""Status for a reply that is not a CloudEvent, as Knative's broker sets it.

Source: knative/eventing, filter_handler.go.
"""

Send = Callable[[Event], SinkResponse]
OnReply = Callable[[Entry, Event], Puts]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """The result of one attempt for one entry.

    Attributes:
        verdict: Action by Knative's response rules, for lanes with a limited number of retries.
        status: HTTP status that decided the result; 0 when there was no response.
        blame: What is at fault, for lanes with unlimited retries.
        reason: Reason for a failure; empty otherwise.
        answer: Response of the sink; None when there was none.
        puts: Events to store for the reply, with their lanes.
        reached: Whether any part of the request was sent.
        store: Host of the store that the receiver couldn't fetch the event's data from; empty for another result.
    """

    verdict: DeliveryAction
    status: int
    blame: Blame = Blame.UNKNOWN
    reason: str = ""
    answer: SinkResponse | None = None
    puts: Puts = ()
    reached: bool = True
    store: str = ""

    @property
    def is_later(self) -> bool:
        """Whether the receiver asks for the same event later, and says when (Retry-After)."""
        return self.blame is Blame.LATER and self.answer is not None and self.answer.retry_after_s is not None


class AttemptJudge:
    """Sends the entries of one lane and judges the responses.

    Args:
        lane: Name of the lane, for the log.
        send: Function that sends one event and returns the response.
        on_reply: Function that returns the events to store for a reply; None when replies are not requested.
        reply_required: Whether a success without a reply is a failure; status 202, which says that there is no reply,
            remains a success.
    """

    def __init__(self, lane: str, send: Send, on_reply: OnReply | None, *, reply_required: bool) -> None:
        self._lane = lane
        self._send = send
        self._on_reply = on_reply
        self._reply_required = reply_required

    def judge(self, entry: Entry) -> AttemptResult:
        """Send one entry's event and return the result."""
        try:
            answer = self._send(entry.event)
        except UnreachableError as error:
            return AttemptResult(
                verdict=DeliveryAction.RETRY,
                status=NO_ANSWER,
                blame=Blame.WAY,
                reason=shorten(error.message),
                reached=False,
            )
        except DeliveryError as error:
            return AttemptResult(
                verdict=DeliveryAction.RETRY, status=NO_ANSWER, blame=Blame.WAY, reason=shorten(error.message)
            )
        except EavesError as error:
            status = error.http_status
            return AttemptResult(
                verdict=choose_action(status),
                status=status,
                blame=find_blame(status, is_receivers=True),
                reason=shorten(error.message),
            )
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("queue %s: sending event %s failed unexpectedly", self._lane, entry.event.id[:64])
            return AttemptResult(
                verdict=DeliveryAction.RETRY, status=500, reason=shorten(f"{type(error).__name__}: {error}")
            )
        found = choose_action(answer.status)
        if found is not DeliveryAction.DONE:
            reason = describe_response(answer.status, answer.body)
            store = find_store(entry.event) if is_fetch_failure(answer.body) else ""
            whose = (
                Blame.UNKNOWN
                if store
                else find_blame(
                    answer.status,
                    answer.body,
                    retry_after_s=answer.retry_after_s,
                    is_receivers=answer.is_receivers,
                )
            )
            return AttemptResult(
                verdict=found, status=answer.status, blame=whose, reason=reason, answer=answer, store=store
            )
        return self._judge_reply(entry, answer)

    def _judge_reply(self, entry: Entry, answer: SinkResponse) -> AttemptResult:
        done = AttemptResult(verdict=DeliveryAction.DONE, status=answer.status, answer=answer)
        if self._on_reply is None or answer.status == ACCEPTED:
            return done
        if answer.event is None:
            reason = self._reply_fault(answer)
            if not reason:
                return done
            return AttemptResult(verdict=DeliveryAction.RETRY, status=JUNK_STATUS, reason=reason, answer=answer)
        try:
            puts = self._on_reply(entry, answer.event)
        except Exception as error:  # noqa: BLE001 - foreign code; retried
            _log.exception("queue %s: the reply to event %s can't be used", self._lane, entry.event.id[:64])
            reason = shorten(f"the reply can't be used: {type(error).__name__}: {error}")
            return AttemptResult(verdict=DeliveryAction.RETRY, status=500, reason=reason, answer=answer)
        return AttemptResult(verdict=DeliveryAction.DONE, status=answer.status, answer=answer, puts=puts)

    def _reply_fault(self, answer: SinkResponse) -> str:
        """Return why a success counts as a failure for lack of the required reply; empty when it doesn't."""
        if answer.fault:
            return f"answered {answer.status} with an invalid CloudEvent: {shorten(answer.fault)}"
        if answer.body:
            return (
                f"answered {answer.status} with {len(answer.body)} bytes that are not a "
                "CloudEvent; the answer to `Prefer: reply` must be empty or a CloudEvent, "
                "because a Knative Broker turns any other answer into a 502 and retries"
            )
        if self._reply_required:
            return f"answered {answer.status} without a prediction; only the status 202 may come without one"
        return ""
