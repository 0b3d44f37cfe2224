"""Conversion of a ledger to and from JSON lines, one per event, for programs such as `sort` and `comm`.

    {"number": 1, "source": "/eaves/mill/flowers", "id": "9f86...", "at": 1764072000.5, "state": "released",
     "repeats": 0, "digest": "1a2b3c4d5e6f7081"}

`reason` is present when an event was given up on or removed. `deleted` is present in the first line of a whole ledger:
the number of lines that it has deleted to keep its limit. Only `source` and `id` are required to read a line, so a list
that was made with other tools, such as a file of CloudEvents in JSON, can be compared as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from eaves.errors import InputError
from eaves.spool import LedgerLine
from eaves.spool.ledger_schema import STATES

MAX_LINE = 1 << 20
"""Maximum length of a line that is read, bytes."""
_MAX_NUMBER = 1 << 62
_LAST_AT = 253_402_300_799.0
"""Largest time that a line may have, Unix seconds: the end of the year 9999."""


def to_dict(line: LedgerLine) -> dict[str, Any]:
    """Convert a line to plain data."""
    values = {
        "number": line.number,
        "source": line.source,
        "id": line.id,
        "at": line.taken_at,
        "state": line.state,
        "repeats": line.repeats,
        "digest": line.digest,
        "reason": line.reason,
    }
    present = {name: value for name, value in values.items() if value or name not in ("digest", "reason")}
    return present if line.deleted is None else {**present, "deleted": line.deleted}


def encode_line(line: LedgerLine) -> str:
    """Encode a line as ASCII JSON, without a line break."""
    return json.dumps(to_dict(line))


def parse_line(values: Any, number: int = 0) -> LedgerLine:
    """Parse a line from plain data.

    Args:
        values: Value that `to_dict` returned, or a mapping with `source` and `id`.
        number: Number of the line when the values have none.

    Raises:
        ValueError: When the values are not a line.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not the call
    for name in ("source", "id"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise ValueError(f"it has no {name}")
    state = values.get("state", "released")
    if state not in STATES:
        raise ValueError(f"its state is not one of {', '.join(STATES)}")
    at = _number(values, "at", 0.0, _LAST_AT)
    return LedgerLine(
        number=int(_number(values, "number", number, _MAX_NUMBER)),
        source=values["source"],
        id=values["id"],
        taken_at=float(at),
        state=state,
        changed_at=float(at),
        repeats=int(_number(values, "repeats", 0, _MAX_NUMBER)),
        reason=_text(values, "reason"),
        digest=_text(values, "digest"),
        deleted=_count(values.get("deleted")),
    )


def read_lines(stream: BinaryIO, origin: str) -> Iterator[LedgerLine]:
    """Yield the lines of a file, one at a time; empty lines are skipped.

    Args:
        stream: File opened for reading.
        origin: Name of the file in errors.

    Raises:
        InputError: At a line that can't be read.
    """
    number = count = 0
    while text := stream.readline(MAX_LINE + 1):
        number += 1
        if len(text) > MAX_LINE:
            raise InputError(
                f"{origin}: line {number} has more than {MAX_LINE} bytes",
                hint=("give a file that lists events, one JSON object on each line"),
            )
        if not text.strip():
            continue
        count += 1
        try:
            yield parse_line(json.loads(text), count)
        except (ValueError, RecursionError) as error:
            hint = "each line must be a JSON object with source and id, as `eaves relay ledger` prints it"
            raise InputError(f"{origin}: line {number} can't be read: {str(error)[:200]}", hint=hint) from error


def encode_lines(lines: Iterable[LedgerLine]) -> bytes:
    """Encode lines as the body of an answer."""
    return "".join(f"{encode_line(line)}\n" for line in lines).encode()


def _number(values: Mapping[str, Any], name: str, default: float, most: float) -> float:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(f"its {name} is not a number: {str(value)[:64]!r}")
    return value


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER else None


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    return value[:300] if isinstance(value, str) else ""
