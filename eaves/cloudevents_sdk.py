"""The CloudEvents SDK, and the only importer of it; loaded with the first event, since it costs a start 20 ms.

The SDK validates the attributes of every event that comes in or goes out, and encodes headers in binary mode. All
else is written in `eaves.events`, and batches in `eaves.link.batch`, because SDK 2.2

- invents an id that is missing, so that no repeat would be recognised, and a time;
- hands data that happen to be UTF-8 over as text, an image's too, and JSON that doesn't parse as if it were text;
- of a name that is there twice in structured JSON takes the last, and takes NaN, where other receivers differ;
- raises ValueError, AttributeError and JSONDecodeError for malformed messages, beside its own error;
- cuts times at the microsecond, writes JSON data of structured mode in base64, and neither reads nor writes batches.
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
    """The SDK's JSON format, with binary-mode bodies left exactly as they are."""

    def write_data(self, data: Any, datacontenttype: str | None) -> bytes:
        return data or b""


_FORMAT = _BytesFormat()
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def validate(attributes: Mapping[str, Any], data: bytes) -> CloudEvent:
    """The SDK's event of these attributes; `time` is a datetime.

    Raises:
        EventError: With every fault the SDK finds.
    """
    try:
        event = CloudEvent(dict(attributes), data or None)
    except CloudEventValidationError as error:
        faults = [str(fault) for found in error.errors.values() for fault in found]
        raise EventError(f"not a CloudEvent: {'; '.join(faults)[:400]}") from error
    if "time" not in attributes:
        del event.get_attributes()["time"]  # the SDK fills in "now", which would differ on every retry
    return event


def check(attributes: Mapping[str, Any]) -> None:
    """Raise what `validate` raises for these attributes.

    Of attributes that all are text, and a `time`, and none of them empty, the SDK looks at the names only. So of many
    events with the same names one is shown to it.

    Raises:
        EventError: As `validate`.
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
    """Headers and body of an event in binary mode.

    Raises:
        EventError: As `validate`.
    """
    message = to_binary(validate(attributes, data), _FORMAT)
    return dict(message.headers), message.body
