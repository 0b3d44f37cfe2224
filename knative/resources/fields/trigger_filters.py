"""Filters of Triggers, so that Knative's broker lets through what the local platform's broker does.

Knative compares an attribute's value as it stands in the HTTP header and doesn't decode it, though senders that keep to
the binding percent-encode what isn't plain ASCII. Such a value is compared in both forms: events of one sender come
encoded, those of another one, or from structured mode, as they are.

Source: CloudEvents HTTP binding 1.0.2, section 3.1.3.2; sdk-go v2, protocol/http, which neither encodes nor decodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.events import Event, encode_binary
from eaves.platform import TriggerSpec
from eaves.platform.filters import rewrite_matches


def build_filters(trigger: TriggerSpec) -> dict[str, Any]:
    """The fields of a Trigger's spec that filter; none for a trigger of every event."""
    if trigger.filters:
        return {"filters": rewrite_matches(trigger.filters, _compare)}
    if all(_encoded(value) == value for value in trigger.filter.values()):
        return {"filter": {"attributes": dict(trigger.filter)}} if trigger.filter else {}
    return {
        "filters": [
            _compare("exact", name, value) if value else _exists(name) for name, value in trigger.filter.items()
        ]
    }


def _compare(dialect: str, name: str, value: str) -> Mapping[str, Any]:
    forms = dict.fromkeys((value, _encoded(value)))
    compared: list[Mapping[str, Any]] = [{dialect: {name: form}} for form in forms]
    return compared[0] if len(compared) == 1 else {"any": compared}


def _exists(name: str) -> Mapping[str, Any]:
    """That an attribute is there. `filters` have no empty value that says so, as `filter` has."""
    return {"cesql": f"EXISTS {name}"}


def _encoded(value: str) -> str:
    """A value as a header has it."""
    headers, _ = encode_binary(Event(id="1", source="/", type="t", extensions={"value": value}))
    return headers["ce-value"]
