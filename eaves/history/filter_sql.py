"""A filter of records as a condition in SQL, equal to `RecordFilter.matches`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from eaves.history.records import RecordFilter

Condition = tuple[str, tuple[object, ...]]
"""SQL text, and the values of its parameters."""
_EXTENSION = "CASE WHEN instr(extensions, ?) AND json_valid(extensions) THEN json_extract(extensions, ?) END"
"""The value of an extension attribute. The text that it must contain is searched first, which costs much less than
parsing the JSON of every record. Damaged JSON counts as no value."""


def build_condition(wanted: RecordFilter) -> Condition:
    """Build the condition that a record matches a filter."""
    found: list[Condition] = []
    if wanted.types:
        found.append((f"type IN ({', '.join('?' * len(wanted.types))})", tuple(map(clean, wanted.types))))
    if wanted.since is not None:
        found.append(("at >= ?", (wanted.since,)))
    if wanted.until is not None:
        found.append(("at <= ?", (wanted.until,)))
    if wanted.text:
        found.append(("instr(lower(subject), lower(?))", (clean(wanted.text),)))
    if wanted.label:
        found.append(match_extension("label", wanted.label))
    if wanted.confidence:
        found.append(match_extension("confidence", wanted.confidence))
    if wanted.source:
        found.append(_match_source(clean(wanted.source)))
    return join(" AND ", found)


def match_extension(name: str, value: str) -> Condition:
    """Build the condition that an extension attribute has a value."""
    value = clean(value)
    return f"{_EXTENSION} = ?", (encode_part(value), f"$.{name}", value)


def _match_source(name: str) -> Condition:
    end = f"/{name}"
    cause = f"({_EXTENSION})"
    needle = (encode_part(name), "$.causesource")
    return (
        f"(source = ? OR substr(source, ?) = ? OR {cause} = ? OR substr({cause}, ?) = ?)",
        (name, -len(end), end, *needle, name, *needle, -len(end), end),
    )


def match_causes(identities: Sequence[tuple[str, str]]) -> Condition:
    """Build the condition that a record names one of these events (source and id) as its cause."""
    pairs = [
        join(" AND ", [match_extension("causeid", event_id), match_extension("causesource", source)])
        for source, event_id in identities
    ]
    return join(" OR ", pairs)


def join(word: str, conditions: Sequence[Condition]) -> Condition:
    """Join conditions by `AND` or `OR`, in brackets; without a condition, every record matches."""
    if not conditions:
        return "1", ()
    return f"({word.join(text for text, _ in conditions)})", tuple(one for _, values in conditions for one in values)


def encode_part(value: str) -> str:
    """Return a text as it is within the JSON of the extensions."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def clean(text: str) -> str:
    """Replace characters that UTF-8 can't encode, as the history does when it stores an attribute."""
    return text.encode(errors="replace").decode()
