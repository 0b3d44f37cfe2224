"""The CloudEvents SDK adapter. No other module imports the SDK.

The SDK is imported with the first event, because the import takes 20 ms.

The SDK validates the attributes of every event that is received or sent, and encodes headers in binary mode.
`eaves.events` does everything else, and `eaves.link.protocol` does batches, because SDK 2.2

- invents a missing id, so that a repeated event would not be recognised, and a missing time;
- returns data that happen to be UTF-8 as text, including an image's, and JSON that doesn't parse as text as well;
- takes the last of two members with the same name in structured JSON, and accepts NaN, where other receivers differ;
- raises ValueError, AttributeError and JSONDecodeError for malformed messages, in addition to its own error;
- truncates times to microseconds, writes JSON data of structured mode in base64, and neither reads nor writes batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cloudevents.core.bindings.http import to_binary
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from eaves.errors import EventError


class _BytesFormat(JSONFormat):
    """The SDK's JSON format, which leaves binary-mode bodies unchanged."""

    def write_data(self, data: Any, datacontenttype: str | None) -> bytes:
        return data or b""


_FORMAT = _BytesFormat()
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def validate(attributes: Mapping[str, Any], data: bytes) -> CloudEvent:
    """Return the SDK's event with these attributes; `time` is a datetime.

    Raises:
        EventError: When the SDK finds faults; the message has all of them.
    """
    try:
        event = CloudEvent(dict(attributes), data or None)
    except CloudEventValidationError as error:
        faults = [str(fault) for found in error.errors.values() for fault in found]
        raise EventError(f"not a CloudEvent: {'; '.join(faults)[:400]}") from error
    if "time" not in attributes:
        del event.get_attributes()["time"]  # the SDK fills in the current time, which would differ on every retry
    return event


def check(attributes: Mapping[str, Any]) -> None:
    """Check an event's attributes, and raise the error that `validate` would raise for them.

    When all attributes except `time` are non-empty text, the SDK checks only their names. So of many events with the
    same attribute names, only the first is validated by the SDK.

    Raises:
        EventError: When `validate` finds a fault.
    """
    if all(attributes.values()) and attributes["specversion"] == "1.0":
        _check_names(tuple(attributes))
    else:
        validate(attributes, b"")


@lru_cache(maxsize=128)
def _check_names(names: tuple[str, ...]) -> None:
    values: dict[str, Any] = {**dict.fromkeys(names, "x"), "specversion": "1.0"}
    validate({**values, "time": _SOME_TIME} if "time" in names else values, b"")


def encode(attributes: Mapping[str, Any], data: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an event in binary mode.

    Raises:
        EventError: When `validate` finds a fault.
    """
    message = to_binary(validate(attributes, data), _FORMAT)
    return dict(message.headers), message.body
