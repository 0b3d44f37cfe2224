"""Rules that say which events are alarms; alarms are forwarded first when the link is up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eaves.events import Event

Rule = Mapping[str, str]
"""Attribute names mapped to values; an event matches when it has all of them."""


def parse_alarms(text: str) -> tuple[Rule, ...]:
    """Parse rules from the text in the settings.

    Args:
        text: JSON list of mappings, each from names of attributes to values; empty for none.

    Raises:
        ValueError: When the text is anything else, or when a rule would match every event.
    """
    if not text.strip():
        return ()
    listed = json.loads(text)
    if not isinstance(listed, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - the text is wrong, not the call
    return tuple(_parse_rule(rule) for rule in listed)


def is_alarm(event: Event, rules: Sequence[Rule]) -> bool:
    """Return whether one of the rules matches an event's attributes."""
    if not rules:
        return False
    attributes = event.attributes()
    return any(all(attributes.get(name) == value for name, value in rule.items()) for rule in rules)


def _parse_rule(rule: Any) -> Rule:
    if not isinstance(rule, dict) or not rule:
        raise ValueError(f"a rule must be a mapping of attributes to values (got {str(rule)[:80]!r})")
    for name, value in rule.items():
        if not (name.isascii() and name.isalnum() and name == name.lower()):
            raise ValueError(f"{name[:40]!r} is not the name of an attribute; use a-z and 0-9")
        if not isinstance(value, str):
            raise ValueError(f"the value of {name[:40]} must be a string (got {value!r})")  # noqa: TRY004 - as above
    return rule
