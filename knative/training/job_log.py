"""What a training's pods write, read back: a line of JSON becomes text and, of a phase, how far it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

TEXT = 500
"""Characters of a line that are kept: it comes from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a log.

    Attributes:
        text: For people.
        phase: What is being done; empty where the line doesn't tell how far something is.
        done: Of it.
        total: Of it.
        note: Beside it, `loss 0.31`.
    """

    text: str
    phase: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


def parse_line(raw: str) -> LogLine:
    """A line as the trainer logs it in a container (`eaves.logs`), or any other."""
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
    """(what a log ends with, what its process advises), of an Eaves process that failed or of any other.

    An entry point ends with lines `error: ...` and perhaps `try: ...`.
    """
    errors = [line.removeprefix("error: ") for line in raw if line.startswith("error: ")]
    advice = next((line.removeprefix("try: ") for line in reversed(raw) if line.startswith("try: ")), "")
    if errors:
        return [_plain(line) for line in errors[-5:]], _plain(advice)
    return [parse_line(line).text for line in raw if line.strip()][-5:], ""


def _plain(text: object) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)[:TEXT]).rstrip()
