"""Identity and capture time of snapshots.

A snapshot is one received picture. Its position, which identifies it, is the digest of its bytes together with the
validator that came with them: its ETag, else its Last-Modified, else the time at which these bytes were first seen. The
digest is always part of it, because some cameras send one ETag or one Last-Modified forever, and with these alone every
picture after the first would count as sent. Without a validator, bytes that equal those of the picture before are the
same picture. A camera's noise makes two pictures that are equal to the last bit practically impossible, so the camera
has served one picture twice.

The capture time is Last-Modified as long as it changes with the picture, else the time of the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from eaves.sources.http.client import Snapshot

MAX_VALIDATOR = 512
"""Maximum length of an ETag or Last-Modified header that is used, characters."""
REFRESH_S = 600.0
"""Interval at which a picture is requested without If-None-Match and If-Modified-Since, seconds. A server whose ETag
and Last-Modified don't change with the picture would otherwise always answer that nothing has changed."""
CLEAR_S = 2.0
"""Minimum age of Last-Modified, at the time of the answer, for its use in If-Modified-Since, seconds. Last-Modified has
a resolution of one second, in which a camera may make several pictures. Source: RFC 9110, section 8.8.2.2."""
MAX_AHEAD_S = 60.0
"""Maximum time that Last-Modified may be ahead of this machine's clock, seconds. If it is more, the camera's clock is
wrong and Last-Modified isn't used as capture time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Properties of the last picture, with which the next one is compared.

    Attributes:
        digest: SHA-256 of the picture's bytes, in hexadecimal.
        etag: ETag of the picture; empty without one.
        modified: Last-Modified of the picture; empty without one.
        modified_s: Last-Modified in Unix seconds; None when it is not a date.
        answered_s: Time at which the picture was received completely, Unix seconds.
        url: URL of the request without credentials, so that a new password makes no new picture.
    """

    digest: str
    etag: str
    modified: str
    modified_s: float | None
    answered_s: float
    url: str

    def has_validators_of(self, other: Picture) -> bool:
        """Return whether this picture has the same ETag and Last-Modified as another one.

        The server would then treat both as the same picture.
        """
        return (self.etag or self.modified) != "" and (self.etag, self.modified) == (other.etag, other.modified)


class SnapshotIdentity:
    """Gives each picture of one source its position (an identifying text) and its capture time.

    Only the last picture is remembered.
    """

    def __init__(self) -> None:
        self._last: Picture | None = None
        self._first_seen_s = 0.0
        self._asked_whole_s = float("-inf")
        self._trusted = True

    def conditions(self, monotonic_s: float) -> dict[str, str]:
        """Return If-None-Match or If-Modified-Since for the last picture, so that the server needn't send it again.

        Args:
            monotonic_s: Current monotonic time, seconds.
        """
        last = self._last
        if last is None or not self._trusted or monotonic_s - self._asked_whole_s >= REFRESH_S:
            self._asked_whole_s = monotonic_s
            return {}
        if last.etag:
            return {"If-None-Match": last.etag}
        if last.modified_s is not None and last.answered_s - last.modified_s >= CLEAR_S:
            return {"If-Modified-Since": last.modified}
        return {}

    def identify(self, snapshot: Snapshot, now_s: float) -> tuple[str, int] | None:
        """Return the position and the capture time (nanoseconds since 1970) of a picture; None for a repeated one.

        Args:
            snapshot: Snapshot that was received.
            now_s: Wall-clock time, Unix seconds.
        """
        new, last = _describe(snapshot, now_s), self._last
        same = last is not None and last.digest == new.digest
        if last is not None and not same and new.has_validators_of(last):
            self._trusted = False
        if not same:
            self._first_seen_s = now_s
        self._last = new
        if same and not new.etag and not new.modified:
            return None
        validator = f"etag {new.etag}" if new.etag else f"modified {new.modified}"
        if not new.etag and not new.modified:
            validator = f"seen {round(self._first_seen_s * 1e9)}"
        return f"{new.url}\0{new.digest}\0{validator}", round(_capture_time_s(new, last, now_s) * 1e9)


def _describe(snapshot: Snapshot, now_s: float) -> Picture:
    modified = _validator(snapshot.headers, "last-modified")
    return Picture(
        digest=hashlib.sha256(snapshot.data).hexdigest(),
        etag=_validator(snapshot.headers, "etag"),
        modified=modified,
        modified_s=_parse_date(modified),
        answered_s=now_s,
        url=snapshot.url,
    )


def _capture_time_s(new: Picture, last: Picture | None, now_s: float) -> float:
    moment_s = new.modified_s
    stale = last is not None and last.digest != new.digest and last.modified == new.modified
    if moment_s is None or stale or not 0 < moment_s <= now_s + MAX_AHEAD_S:
        return now_s
    return moment_s


def _validator(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "").strip()
    return value if value.isascii() and value.isprintable() and len(value) <= MAX_VALIDATOR else ""


def _parse_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
