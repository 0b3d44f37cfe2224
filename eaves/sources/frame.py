"""Image as a source captured it, before it becomes an event."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
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
"""Reason why a frame is dropped.

`late`: a newer frame took its place before it was spooled. `duplicate`: it was captured before. `rate`: it came sooner
after the last one than `rate` allows. `unchanged`: it hardly differs from the last one. `too_large`: more bytes or
pixels than allowed. `spool_full`: the queue had no room and the source can't offer it again. `unsupported`: a format
that no function reads, or no image at all. `unreadable`: it could not be read; it may be captured later. `hours`:
outside the hours of capture. `failed`: an error of the source itself, which is logged; it may be captured later.
`topic`: a message of a topic that the source doesn't subscribe to, or no longer subscribes to.
"""
ERRORS: Mapping[Cause, str] = MappingProxyType(
    {
        "too_large": "it has more bytes or pixels than allowed",
        "unsupported": "it is no image in a format that functions read",
        "unreadable": "it can't be read",
        "failed": "the source has an error of its own, which the log names",
    }
)
"""Causes that are errors of an image, of the settings or of the source, with the usual reason of each. A correction may
end an error, so an image with one of these causes is not lost for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image that a source offers to its agent.

    Attributes:
        data: Encoded image; empty for an image that stays in an object store, which `dataref` then names.
        position: Text that identifies this image among all images of the source and is the same whenever the image is
            found again. The event's id is derived from it, so an image that is found twice is sent once.
        subject: Name of the image within the source, such as a relative path or a topic.
        captured_at_ns: Capture time, nanoseconds since 1970; None when it isn't known.
        camera: Name of the camera, the event's `partitionkey`; empty for the source's own name.
        content_type: Media type of `data`; empty to detect it from the first bytes.
        extensions: Further extension attributes of the event; names consist of lower-case a-z and 0-9.
        dataref: URL of the image, without credentials, when `data` is empty. The function fetches it
            (`function.dataref_hosts`). Options that need an image's pixels drop such a frame.
        digest: SHA-256 of the image at `dataref` in the form `sha256:HEX`; empty when it isn't known. The digest of
            `data` is computed.
    """

    data: bytes = field(repr=False)
    position: str
    subject: str = ""
    captured_at_ns: int | None = None
    camera: str = ""
    content_type: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)
    dataref: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        if (self.data and self.dataref) or (self.digest and not self.dataref):
            raise ValueError("a frame has either data, or a dataref and perhaps its digest")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Reason why a frame becomes no event; returned in place of the frame.

    Attributes:
        cause: Cause that the frame is counted under.
        reason: What is wrong with the image, as a sentence for the log; empty when nothing is.
    """

    cause: Cause
    reason: str = ""


class Outcome(enum.Enum):
    """Result of passing a frame to `SourceContext.capture`."""

    CAPTURED = "captured"
    """The frame's event is on disk."""
    DROPPED = "dropped"
    """The frame will never become an event: an option leaves it out, or it was captured before. The cause was counted.
    The source must not pass the frame to `capture` again, not even after a restart."""
    UNUSABLE = "unusable"
    """The frame can't become an event because of one of the `ERRORS`, which was counted. Another setting may change
    that, so the source may pass the frame to `capture` again after a restart, but not before."""
