"""One image as a source found it, before it becomes an event."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Cause = Literal[
    "late",
    "duplicate",
    "rate",
    "unchanged",
    "too_large",
    "spool_full",
    "unsupported",
    "unreadable",
    "hours",
    "failed",
    "topic",
]
"""Why a frame is dropped.

`late`: a newer frame took its place before it was spooled. `duplicate`: it was captured before. `rate`: it came sooner
after the last one than `rate` allows. `unchanged`: it hardly differs from the last one. `too_large`: more bytes or
pixels than allowed. `spool_full`: the queue had no room and the source can't offer it again. `unsupported`: a format
that no function reads, or no image at all. `unreadable`: it could not be read; it may be captured later. `hours`:
outside the hours of capture. `failed`: an error of the source itself, which is logged; it may be captured later.
`topic`: a message of a topic that the source doesn't subscribe to, or no longer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image.

    Attributes:
        data: The encoded image.
        position: What tells this image from every other one of the source, and is the same whenever the image is found
            again: the event's id is made of it, so that finding it twice sends it once.
        subject: What within the source: a relative path, a topic.
        captured_at_ns: When it was captured, nanoseconds since 1970; None when nobody knows.
        camera: Which camera it is from, the event's `partitionkey`; empty: the source's own name.
        content_type: Media type of `data`; empty: found by its first bytes.
        extensions: Further extension attributes of the event, names lower-case a-z0-9.
    """

    data: bytes = field(repr=False)
    position: str
    subject: str = ""
    captured_at_ns: int | None = None
    camera: str = ""
    content_type: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Says instead of a frame that it becomes no event.

    Attributes:
        cause: For the counter.
        reason: What is wrong with the image, a sentence for the log; empty when nothing is.
    """

    cause: Cause
    reason: str = ""


class Outcome(enum.Enum):
    """What came of a frame."""

    CAPTURED = "captured"
    """Its event is on disk."""
    DROPPED = "dropped"
    """It will never become an event; the cause is counted. Nobody needs to offer it again."""
