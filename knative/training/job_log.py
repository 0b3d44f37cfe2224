"""Parser of a training's log: a line of JSON becomes a text and, if it reports progress, numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

TEXT = 500
"""Maximum characters of a log line's text. Longer texts are cut, since any program may have written the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a log.

    Attributes:
        text: Text for people.
        phase: Name of the present phase; empty when the line reports no progress.
        done: Finished steps of the phase.
        total: All steps of the phase.
        note: Additional value for people, such as `loss 0.31`.
    """

    text: str
    phase: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


def parse_line(raw: str) -> LogLine:
    """Parse a line of JSON that the trainer logs in a container (`eaves.logs`), or any other line."""
    try:
        values = json.loads(raw) if raw.startswith("{") else None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("message"), str):
        return LogLine(text=_plain(raw))
    text, done, total = _plain(values["message"]), values.get("done"), values.get("total")
    if not isinstance(done, int) or not isinstance(total, int) or not isinstance(values.get("phase"), str):
        return LogLine(text=text)
    note = values.get("note")
    return LogLine(text=text, phase=_plain(values["phase"]), done=done, total=total, note=_plain(note or ""))


def find_last_words(raw: Sequence[str]) -> tuple[list[str], str]:
    """Return (last lines, fix) from the log of a failed process.

    A process of Eaves ends its log with `error: ...` and, if there is a fix, `try: ...`. For any other log the fix is
    empty.
    """
    errors = [line.removeprefix("error: ") for line in raw if line.startswith("error: ")]
    advice = next((line.removeprefix("try: ") for line in reversed(raw) if line.startswith("try: ")), "")
    if errors:
        return [_plain(line) for line in errors[-5:]], _plain(advice)
    return [parse_line(line).text for line in raw if line.strip()][-5:], ""


def _plain(text: object) -> str:
    """Return a text without control characters, which could move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)[:TEXT]).rstrip()
