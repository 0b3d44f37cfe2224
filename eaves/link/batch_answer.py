"""What a receiver answers for a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import DeliveryError

MAX_DETAIL = 300
"""Characters of a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event of a batch that the receiver will never take.

    Attributes:
        index: Its place in the batch, from 0.
        status: HTTP status that it would have got alone: 400 not well-formed, 403 of another site, 409 another event
            of the same source and id was received before, 413 too large.
        detail: Why, for people.
    """

    index: int
    status: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """What became of a batch. Every event that isn't refused is on the receiver's disk.

    Attributes:
        stored: Events that are new.
        repeated: Events that were received before and are not stored again.
        refused: The others.
    """

    stored: int
    repeated: int
    refused: tuple[RefusedEvent, ...] = ()

    def to_json(self) -> bytes:
        """The body of the answer."""
        return json.dumps(asdict(self)).encode()


def parse_batch_answer(body: bytes, sent: int) -> BatchAnswer:
    """Read the answer to a batch.

    Args:
        body: The body of a 200.
        sent: How many events the batch had.

    Raises:
        DeliveryError: When it doesn't account for each of them: a proxy or a login page that answers 200 has stored
            nothing.
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
        raise _not_a_receiver("it is not what a receiver answers") from error
    indices = {one.index for one in answer.refused}
    if len(indices) < len(answer.refused) or any(index >= sent for index in indices):
        raise _not_a_receiver("it refuses events that were not sent")
    if answer.stored + answer.repeated + len(indices) != sent:
        raise _not_a_receiver(f"it accounts for {answer.stored + answer.repeated + len(indices)} of {sent} events")
    return answer


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"no count: {value!r}")
    return value


def _not_a_receiver(why: str) -> DeliveryError:
    return DeliveryError(f"the answer can't be used: {why}", hint="check that the address is a receiver's")
