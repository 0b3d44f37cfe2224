"""Parsing of the extension attributes that a Knative SinkBinding sets on every event (`K_CE_OVERRIDES`)."""

from __future__ import annotations

from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import ConfigError, EventError, Fault
from eaves.events import CONTEXT_ATTRIBUTES, IMAGE_CAPTURED, Event, decode, encode_binary

VARIABLE = "K_CE_OVERRIDES"
_PROBE = Event(id="1", source="/eaves", type=IMAGE_CAPTURED)


def parse_overrides(text: str) -> dict[str, str]:
    """Parse the extension attributes in `K_CE_OVERRIDES`.

    Other attributes are refused: an override of `id`, `source` or `type` would give every image the same identity, and
    all but the first would count as repeated.

    Source: knative/eventing, SinkBinding, `spec.ceOverrides`: `{"extensions": {"name": "value"}}`.

    Args:
        text: Value of the variable; empty for no attributes.

    Raises:
        ConfigError: When the text is malformed or names something other than extension attributes; lists every fault.
    """
    if not text:
        return {}
    try:
        document = parse_json(text)
    except ValueError as error:
        raise _config_error(f"not JSON: {error}") from error
    extensions = document.get("extensions") or {} if isinstance(document, dict) else None
    if not isinstance(extensions, dict):
        raise _config_error('must be an object such as {"extensions": {"name": "value"}}')
    if messages := [message for name, value in extensions.items() if (message := _fault(name, value))]:
        raise _config_error(*messages)
    return extensions


def _fault(name: str, value: Any) -> str:
    """Return why a name and value can't be an extension attribute; empty when they can."""
    if name in CONTEXT_ATTRIBUTES:
        return f"{name!r} is an attribute of the event itself and can't be overridden"
    if not isinstance(value, str):
        return f"{name[:40]!r} must be a string, not {type(value).__name__}"
    try:
        decode(*encode_binary(_PROBE.with_extensions(**{name: value})))  # the same steps as for every event
    except EventError as error:
        return f"{name[:40]!r} can't be added to an event: {error.message}"
    return ""


def _config_error(*messages: str) -> ConfigError:
    faults = [Fault(origin=f"environment variable {VARIABLE}", path="", message=message) for message in messages]
    return ConfigError(faults, hint="correct spec.ceOverrides of the SinkBinding")
