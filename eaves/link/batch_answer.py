"""Answer of a receiver to a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import DeliveryError

MAX_DETAIL = 300
"""Maximum length of a reason, characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event of a batch that the receiver refuses for good.

    Attributes:
        index: Position of the event in the batch, from 0.
        status: HTTP status that the event would have got alone: 400 for one that is not well-formed, 403 for another
            site's, 409 when another event of the same source and id was received before, 413 for one that is too large.
        detail: Reason, for people.
    """

    index: int
    status: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """Result of a batch. Every event that isn't refused is on the receiver's disk.

    Attributes:
        stored: Number of new events.
        repeated: Number of events that were received before and are not stored again.
        refused: Events that were refused.
    """

    stored: int
    repeated: int
    refused: tuple[RefusedEvent, ...] = ()

    def to_json(self) -> bytes:
        """Encode the answer as the body of a response."""
        return json.dumps(asdict(self)).encode()


def parse_batch_answer(body: bytes, sent: int) -> BatchAnswer:
    """Parse the answer to a batch.

    Args:
        body: Body of a response with status 200.
        sent: Number of events in the batch.

    Raises:
        DeliveryError: When the answer doesn't have a result for each event, for example because a proxy or a login page
            answered 200 and stored nothing.
    """
    try:
        values: Mapping[str, Any] = parse_json(body)
        answer = BatchAnswer(
            stored=_count(values["stored"]),
            repeated=_count(values["repeated"]),
            refused=tuple(
                RefusedEvent(
                    index=_count(one["index"]), status=_count(one["status"]), detail=str(one["detail"])[:MAX_DETAIL]
                )
                for one in values["refused"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _not_a_receiver("it doesn't have the form of a receiver's answer") from error
    indices = {one.index for one in answer.refused}
    if len(indices) < len(answer.refused) or any(index >= sent for index in indices):
        raise _not_a_receiver("it rejects events that were not sent")
    if answer.stored + answer.repeated + len(indices) != sent:
        raise _not_a_receiver(
            f"it accounts for {answer.stored + answer.repeated + len(indices)} of the {sent} events sent"
        )
    return answer


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value


def _not_a_receiver(why: str) -> DeliveryError:
    return DeliveryError(
        f"the answer can't be used: {why}", hint=("check that the address is the address of a receiver")
    )
