"""Notifications about new objects from a queue of Amazon SQS, and the keys that they name.

Two forms of notifications are known: that of Amazon S3, and the same within a message of Amazon SNS. Anybody may have
written one: it only makes the source look at a key.
Source: Amazon S3 User Guide, Event message structure; Amazon SNS Developer Guide, message formats.
"""

from __future__ import annotations

import logging
import random
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from eaves.base.backoff import Backoff
from eaves.base.clock import StopFlag
from eaves.base.strict_json import parse_json
from eaves.bucket.aws_client import AwsClient
from eaves.errors import EavesError
from eaves.sources.context import SourceContext
from eaves.sources.s3.kind import S3SourceSettings

MAX_HINTS = 10_000
"""Maximum number of keys that wait, which take about 2 MB of memory. The next pass over the bucket finds the objects of
keys for which there is no room."""
MAX_KEY_BYTES = 1024
"""Maximum size of a key in bytes. Source: Amazon S3 User Guide, Creating object key names."""
RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a queue that can't be read."""
WAIT_S = 15
"""Time that the queue holds a request back until there is a message, seconds."""
HIDDEN_S = 60
"""Time after which the queue gives a message again that wasn't deleted, seconds."""
_BATCH = 10
_QUEUE_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")

_log = logging.getLogger(__name__)


class Notifications:
    """Keys that wait, each once, and the thread that takes them from a queue. Any thread may use every member.

    A message is deleted when its keys wait; if the process ends before their objects are captured, the next pass over
    the bucket finds them.

    Args:
        settings: Settings of the source.
        context: Interface to the agent.
    """

    def __init__(self, settings: S3SourceSettings, context: SourceContext) -> None:
        self._settings, self._context, self._clock = settings, context, context.clock
        self._keys: dict[str, None] = {}
        self._changed = threading.Condition()
        self._stopped = StopFlag(context.clock)
        self._fault = ""
        if settings.queue:
            parts = urlsplit(settings.queue)
            found = _QUEUE_HOST.fullmatch(parts.hostname or "")
            self._client = AwsClient(
                "sqs",
                endpoint=f"{parts.scheme}://{parts.netloc}",
                region=found[1] if found else settings.location.region,
                shown=f"queue {parts.path.rpartition('/')[2]} at {parts.netloc}",
                credentials=context.credentials,
                proxies=context.proxies,
            )

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._keys)

    def start(self) -> None:
        """Start to read the queue, if there is one."""
        if self._settings.queue:
            threading.Thread(target=self._read, name=f"queue {self._context.name}", daemon=True).start()

    def stop(self) -> None:
        """End every wait, from any thread."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        if self._settings.queue:
            self._client.abort()

    def offer(self, keys: Iterable[str]) -> None:
        """Add keys, and wake the source."""
        with self._changed:
            for key in keys:
                if len(self._keys) < MAX_HINTS:
                    self._keys[key] = None
            self._changed.notify_all()

    def take(self) -> str | None:
        """Remove the key that has waited longest and return it; None when none waits."""
        with self._changed:
            key = next(iter(self._keys), None)
            self._keys.pop(key or "", None)
            return key

    def wait(self, seconds: float) -> None:
        """Wait until a key is offered, `stop` is called, or the time is over."""
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while not (self._keys or self._stopped.is_set()) and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left_s)

    def _read(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._read_messages()
            except EavesError as error:
                failures += 1
                self._report(error.message)
                self._stopped.wait(RETRY.pause_s(failures, jitter=random.random()))  # noqa: S311
            else:
                failures = 0
                self._report("")
        self._client.close()

    def _read_messages(self) -> None:
        """Receive, pass on and delete messages once."""
        location, queue = self._settings.location, self._settings.queue
        asked = {"MaxNumberOfMessages": _BATCH, "WaitTimeSeconds": WAIT_S, "VisibilityTimeout": HIDDEN_S}
        answer = self._client.request(lambda sqs: sqs.receive_message(QueueUrl=queue, **asked), "its messages")
        entries = []
        for number, message in enumerate(answer.get("Messages", ())):
            if "ReceiptHandle" not in message:
                _log.warning("source %s: a message of its queue has no ReceiptHandle: skipped", self._context.name)
                continue
            entries.append({"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]})
            try:
                self.offer(parse_notification(message.get("Body", ""), bucket=location.name, prefix=location.prefix))
            except ValueError as error:
                _log.warning(
                    "source %s: a message of its queue is no notification and is deleted: %s", self._context.name, error
                )
        if entries:
            self._client.request(lambda sqs: sqs.delete_message_batch(QueueUrl=queue, Entries=entries), "its messages")

    def _report(self, fault: str) -> None:
        """Log that the queue can't be read, or can be read again, when that has changed."""
        if self._stopped.is_set() or fault == self._fault:
            return
        self._fault, name = fault, self._context.name
        if fault:
            _log.warning("source %s can't read its queue, so new images are found by listing only: %s", name, fault)
        else:
            _log.info("source %s reads its queue again", name)


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
    records = document.get("Records") if isinstance(document, dict) else None
    for record in records if isinstance(records, list) else ():
        entry = record if isinstance(record, dict) else {}
        if str(entry.get("eventName", "")).removeprefix("s3:").startswith("ObjectCreated:"):
            found = _read_object(entry.get("s3"))
            if found is not None:
                yield found[0], unquote_plus(found[1])


def _read_object(value: Any) -> tuple[str, str] | None:
    part = value if isinstance(value, dict) else {}
    bucket, stored = part.get("bucket"), part.get("object")
    name = bucket.get("name") if isinstance(bucket, dict) else None
    key = stored.get("key") if isinstance(stored, dict) else None
    return (name, key) if isinstance(name, str) and isinstance(key, str) and key else None
