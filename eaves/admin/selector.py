"""`Selector`, which selects queue entries and can be converted to a URL query or to the spool's `Selection`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eaves.errors import InputError
from eaves.spool import Selection

QUEUED, DEAD = "queued", "dead"
STATES = (QUEUED, DEAD)
MAX_SEQ = (1 << 63) - 1
"""Maximum sequence number of an entry: the largest integer that SQLite stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Selection of entries. All given conditions must hold; without conditions, all entries are selected.

    Attributes:
        seqs: Sequence numbers to select.
        lane: Lane to select.
        state: `queued` or `dead`, to select entries in this state only.
        source: Source to select, `/eaves/SITE/NAME` or its last part.
        reason: Text that the entry's last failure must contain.
        older_than_s: Minimum time since the entry was put, seconds.
        after: Sequence number above which entries are selected, to list a large queue page by page; 0 selects all.
    """

    seqs: tuple[int, ...] = ()
    lane: str = ""
    state: str = ""
    source: str = ""
    reason: str = ""
    older_than_s: float | None = None
    after: int = 0

    @property
    def is_everything(self) -> bool:
        """Whether the selector has no condition, so that it selects every entry."""
        return self == Selector()

    def to_query(self) -> dict[str, str]:
        """Return the selector's conditions as query parameters, text by name; `parse_selector` parses them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _to_text(value) for name, value in given.items() if value != _UNSET[name]}

    def to_selection(self, now: float) -> Selection:
        """Return the spool's form of the selection.

        Args:
            now: Wall-clock time from which ages are counted back, Unix seconds.
        """
        return Selection(
            seqs=self.seqs or None,
            lane=self.lane or None,
            state=self.state or None,
            source=self.source or None,
            reason=self.reason or None,
            put_before=None if self.older_than_s is None else now - self.older_than_s,
            after=self.after,
        )


_UNSET = {field.name: getattr(Selector(), field.name) for field in fields(Selector)}


def parse_selector(query: Mapping[str, str]) -> Selector:
    """Parse the result of `Selector.to_query`.

    Raises:
        InputError: When a name isn't known or a value is malformed.
    """
    known = {field.name for field in fields(Selector)}
    if unknown := sorted(query.keys() - known):
        raise InputError(f"unknown filter {unknown[0][:64]!r}", hint=f"filters: {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(query)
    if "seqs" in query:
        values["seqs"] = tuple(parse_seq(text) for text in query["seqs"].split(","))
    if "after" in query:
        values["after"] = parse_seq(query["after"])
    if "older_than_s" in query:
        values["older_than_s"] = _parse_seconds(query["older_than_s"])
    if query.get("state", STATES[0]) not in STATES:
        raise InputError(f"state must be one of {', '.join(STATES)} (got {query['state'][:64]!r})")
    return Selector(**values)


def parse_seq(text: str) -> int:
    """Parse a sequence number.

    Raises:
        InputError: When the text is not a sequence number.
    """
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_SEQ)) and int(text) <= MAX_SEQ:
        return int(text)
    raise InputError(f"not the number of a queue entry: {text[:64]!r}", hint="eaves queue list")


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(f"older_than_s must be a number of seconds >= 0 (got {text[:64]!r})")
    return seconds


def _to_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
