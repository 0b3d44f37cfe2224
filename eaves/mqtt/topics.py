"""Validation of topic filters, and matching of topics."""

from __future__ import annotations

from collections.abc import Iterable

from paho.mqtt.client import topic_matches_sub

MAX_BYTES = 65_535
"""Maximum size of a topic in UTF-8, bytes. Source: MQTT 5.0, section 4.7.3."""
SHARED = "$share/"


def find_filter_fault(text: str) -> str:
    """Return what is wrong with a topic filter; empty when it is valid.

    Source: MQTT 5.0, section 4.7.1, wildcards, and section 4.8.2, shared subscriptions.
    """
    if text.startswith(SHARED):
        group, _, rest = text.removeprefix(SHARED).partition("/")
        if not group or not rest or "+" in group or "#" in group:
            return "must be $share/GROUP/TOPIC, with a group without wildcards"
        text = rest
    levels = text.split("/")
    if not text or "\0" in text or len(text.encode(errors="replace")) > MAX_BYTES:
        return f"must be a topic of 1 to {MAX_BYTES} bytes without a null character"
    if any("#" in level for level in levels[:-1]) or (levels[-1] != "#" and "#" in levels[-1]):
        return "must have # only as its whole last level"
    if any(level != "+" and "+" in level for level in levels):
        return "must have + only as a whole level"
    return ""


def matches(filters: Iterable[str], topic: str) -> bool:
    """Return whether one of the filters matches the topic; `$share/GROUP/` before a filter is ignored."""
    return any(topic_matches_sub(one.split("/", 2)[2] if one.startswith(SHARED) else one, topic) for one in filters)
