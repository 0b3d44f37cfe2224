"""Parsing of the extension attributes that a Knative SinkBinding sets on every event (`K_CE_OVERRIDES`)."""

from __future__ import annotations

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
        ConfigError: When the text is malformed or names something other than extension attributes.
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
    if own := sorted(CONTEXT_ATTRIBUTES & extensions.keys()):
        raise _config_error(f"{', '.join(map(repr, own))} is an attribute of the event itself and can't be overridden")
    try:
        if not all(isinstance(value, str) for value in extensions.values()):
            raise EventError("an extension must be a string")
        decode(*encode_binary(_PROBE.with_extensions(**extensions)))  # the same steps as for every event
    except EventError as error:
        raise _config_error(f"can't be added to an event: {error.message}") from error
    return extensions


def _config_error(message: str) -> ConfigError:
    fault = Fault(origin=f"environment variable {VARIABLE}", path="", message=message)
    return ConfigError([fault], hint="correct spec.ceOverrides of the SinkBinding")
