"""Filters of Triggers that make Knative's broker select the same events as the local platform's broker.

Knative compares an attribute's value with its form in the HTTP header and doesn't decode it, although senders that
follow the CloudEvents HTTP binding percent-encode characters beyond plain ASCII. So a value with such characters is
compared in both forms: some senders encode it, and others don't, or send the event in structured mode.

Source: CloudEvents HTTP binding 1.0.2, section 3.1.3.2; sdk-go v2, protocol/http, which neither encodes nor decodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.events import Event, encode_binary
from eaves.platform import TriggerSpec
from eaves.platform.filters import rewrite_matches


def build_filters(trigger: TriggerSpec) -> dict[str, Any]:
    """Build the filter fields of a Trigger's spec; there are none for a trigger that gets every event."""
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
    """Build the filter that selects events which have an attribute, whatever its value.

    In a Trigger's field `filter`, an empty value means any value; in the newer field `filters` it doesn't.
    """
    return {"cesql": f"EXISTS {name}"}


def _encoded(value: str) -> str:
    """Percent-encode an attribute's value as it is in an HTTP header."""
    headers, _ = encode_binary(Event(id="1", source="/", type="t", extensions={"value": value}))
    return headers["ce-value"]
