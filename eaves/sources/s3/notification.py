"""Keys of new objects in a store's notification, which anybody may have written.

Three forms are known: that of Amazon S3, which MinIO and others use, too; the same within a message of Amazon SNS; and
that of Amazon EventBridge.
Source: Amazon S3 User Guide, Event message structure, EventBridge event message structure; Amazon SNS Developer Guide,
message formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from eaves.base.strict_json import parse_json

MAX_BYTES = 1 << 20
"""Maximum size of a notification in bytes, which is the maximum size of a message in Amazon SQS."""
MAX_KEY_BYTES = 1024
"""Maximum size of a key in bytes. Source: Amazon S3 User Guide, Creating object key names."""


def parse_notification(text: bytes | str, *, bucket: str, prefix: str) -> list[str]:
    """Return the keys of new objects of a bucket that a notification names; empty for one about anything else.

    Args:
        text: The notification.
        bucket: Name of the bucket.
        prefix: Text with which the keys begin.

    Raises:
        ValueError: When the notification isn't JSON.
    """
    document = parse_json(text)
    if isinstance(document, dict) and document.get("Type") == "Notification":
        message = document.get("Message")
        document = parse_json(message) if isinstance(message, str) else None
    keys = dict.fromkeys(key for name, key in _find_objects(document) if name == bucket and key.startswith(prefix))
    return [key for key in keys if len(key.encode("utf-8", "replace")) <= MAX_KEY_BYTES]


def _find_objects(document: Any) -> Iterator[tuple[str, str]]:
    """Yield bucket and key of each new object."""
    if not isinstance(document, dict):
        return
    records = document.get("Records")
    for record in records if isinstance(records, list) else ():
        entry = record if isinstance(record, dict) else {}
        if str(entry.get("eventName", "")).removeprefix("s3:").startswith("ObjectCreated:"):
            found = _read_object(entry.get("s3"))
            if found is not None:
                yield found[0], unquote_plus(found[1])
    if document.get("detail-type") == "Object Created":
        found = _read_object(document.get("detail"))
        if found is not None:
            yield found  # keys of EventBridge are not encoded


def _read_object(value: Any) -> tuple[str, str] | None:
    part = value if isinstance(value, dict) else {}
    bucket, stored = part.get("bucket"), part.get("object")
    name = bucket.get("name") if isinstance(bucket, dict) else None
    key = stored.get("key") if isinstance(stored, dict) else None
    return (name, key) if isinstance(name, str) and isinstance(key, str) and key else None
