"""Formatting of an event as one line of text."""

from __future__ import annotations

import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Mapping
from typing import Any

from eaves.base.terminal import escape
from eaves.cli.display.event_view import find_best
from eaves.events import TYPE_PREFIX
from eaves.history import Record

TYPE_WIDTH = 19
"""Width of the column of event types, terminal columns: the length of Eaves' longest type, `image.classified.v1`."""
LABEL_WIDTH = 14
MAX_LABEL = 40
"""Maximum number of characters of a label that are shown, because the sender of an event may choose a long one."""
ID_DIGITS = 8
MIN_SUBJECT = 12
"""Minimum number of terminal columns that an event's subject gets, even on a narrow terminal."""


def terminal_width() -> int | None:
    """Return the number of columns of the terminal on stdout; None when stdout is no terminal, so no line is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def format_record(record: Record, width: int | None) -> str:
    """Return time, type, label with score, subject and the beginning of the id of a recorded event.

    Args:
        record: The event.
        width: Number of columns of the terminal; a long subject is cut so that the line fits. None cuts nothing.
    """
    best = find_best(parse_data(record.text), record.extensions)
    head = [_moment(record.at), _pad(record.type.removeprefix(TYPE_PREFIX), TYPE_WIDTH), _format_best(best)]
    return _join(head, record.subject, [record.id[:ID_DIGITS]], width)


def format_prediction(
    at: float, source: str, type_: str, subject: str, best: Mapping[str, Any], width: int | None
) -> str:
    """Return time, function, label with score and subject of a prediction.

    Args:
        at: Time at which the platform got the event, Unix seconds.
        source: Source of the event, `/eaves/SITE/FUNCTION`.
        type_: Type of the event; it stands for the label where the prediction has none.
        subject: Subject of the event, the path of an image for instance.
        best: The prediction's `label` and `score`, as `find_best` returns them.
        width: Columns of the terminal; None cuts nothing.
    """
    shown = best if best.get("label") is not None else {"label": type_.removeprefix(TYPE_PREFIX)}
    return _join([_moment(at), _clean(source.rpartition("/")[2]), _format_best(shown)], subject, [], width)


def parse_data(text: str) -> Any:
    """Parse the JSON data of an event in the history; None when there are no data or they were shortened."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _format_best(best: Mapping[str, Any]) -> str:
    label, score = best.get("label"), best.get("score")
    shown = "" if label is None else str(label)[:MAX_LABEL]
    number = f"{score:4.2f}" if isinstance(score, float) or (isinstance(score, int) and abs(score) < 10**6) else "    "
    return f"{_pad(shown, LABEL_WIDTH)} {number}"


def _moment(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _join(head: list[str], subject: str, tail: list[str], width: int | None) -> str:
    """Join the columns of an event's line, and cut the beginning of a subject that doesn't fit the width.

    The end of the subject stays, because the end of a path names the file.
    """
    before, after = "  ".join(head), "".join(f"  {_clean(one)}" for one in tail)
    shown = _clean(subject)
    if width is not None:
        room = max(MIN_SUBJECT, width - count_columns(before) - 2 - count_columns(after))
        if count_columns(shown) > room:
            shown = "…" + _end(shown, room - 1)
        elif after:
            shown += " " * (room - count_columns(shown))
    return f"{before}  {shown}{after}".rstrip()


def _clean(text: str) -> str:
    return escape(text, keep="")


def _pad(text: str, width: int) -> str:
    shown = _clean(text)
    return shown + " " * (width - count_columns(shown))


def _end(text: str, width: int) -> str:
    """Return the longest end of a text that fits into `width` terminal columns."""
    while count_columns(text) > width:
        text = text[1:]
    return text


def count_columns(text: str) -> int:
    """Return how many columns a text takes on a terminal. Source: Unicode Standard Annex 11, wide and fullwidth."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)
