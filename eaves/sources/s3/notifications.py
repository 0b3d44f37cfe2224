"""Notifications about new objects from a queue of Amazon SQS, and the keys that they name.

Three forms of notifications are known: that of Amazon S3, the same within a message of Amazon SNS, and that of Amazon
EventBridge. Anybody may have written one: it only makes the source look at a key.
Source: Amazon S3 User Guide, Event message structure, EventBridge event message structure; Amazon SNS Developer Guide,
message formats.
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
from eaves.base.clock import SYSTEM, Clock, StopFlag
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
STOP_S = 2.0
_BATCH = 10
_QUEUE_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")

_log = logging.getLogger(__name__)


class Hints:
    """Keys that wait, each once. Any thread may use every member.

    Args:
        clock: Clock to wait by.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._keys: dict[str, None] = {}
        self._woken = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._keys)

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
            if key is not None:
                del self._keys[key]
            return key

    def wake(self) -> None:
        """End a wait, now or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a key is offered, `wake` is called, or the time is over."""
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while not self._keys and not self._woken and (left_s := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left_s)
            self._woken = False


class QueueReader:
    """A thread that passes the keys in a queue's messages on as hints; without a queue it does nothing.

    A message is deleted when its keys wait as hints; if the process ends before their objects are captured, the next
    pass over the bucket finds them.

    Args:
        settings: Settings of the source.
        context: Interface to the agent.
        hints: Keys that wait for the source.
    """

    def __init__(self, settings: S3SourceSettings, context: SourceContext, hints: Hints) -> None:
        self._settings = settings
        self._context = context
        self._hints = hints
        self._stop = StopFlag(context.clock)
        self._fault = ""
        self._thread: threading.Thread | None = None
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
            self._thread = threading.Thread(target=self._read, name=f"queue {context.name}", daemon=True)

    def start(self) -> None:
        """Start to read the queue."""
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """End the wait for the queue's messages, from any thread."""
        self._stop.set()
        if self._thread is not None:
            self._client.abort()

    def close(self) -> None:
        """Stop reading, and wait for the thread."""
        self.stop()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _read(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._read_messages()
            except EavesError as error:
                failures += 1
                self._report(error.message)
                self._stop.wait(RETRY.pause_s(failures, jitter=random.random()))  # noqa: S311
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
            entries.append({"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]})
            try:
                keys = parse_notification(message.get("Body", ""), bucket=location.name, prefix=location.prefix)
            except ValueError as error:
                _log.warning(
                    "source %s: a message of its queue is no notification and is deleted: %s", self._context.name, error
                )
            else:
                self._hints.offer(keys)
        if entries:
            self._client.request(lambda sqs: sqs.delete_message_batch(QueueUrl=queue, Entries=entries), "its messages")

    def _report(self, fault: str) -> None:
        """Log that the queue can't be read, or can be read again, when that has changed."""
        if self._stop.is_set() or fault == self._fault:
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
