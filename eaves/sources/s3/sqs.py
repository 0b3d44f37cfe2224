"""Reader of a queue of Amazon SQS, to which a bucket reports new objects."""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path
from urllib.parse import urlsplit

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock, StopFlag
from eaves.bucket.aws_client import AwsClient
from eaves.bucket.location import BucketLocation
from eaves.errors import EavesError
from eaves.http_client.proxies import Proxies
from eaves.sources.s3.hints import Hints
from eaves.sources.s3.notification import parse_notification

RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a queue that can't be read."""
WAIT_S = 15
"""Time that the queue holds a request back until there is a message, seconds."""
HIDDEN_S = 60
"""Time after which the queue gives a message again that wasn't deleted, seconds."""
_BATCH = 10
_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")

_log = logging.getLogger(__name__)


class SqsReader:
    """Reads notifications from a queue and passes their keys on as hints. For one thread only, except for `stop`.

    A message is deleted when its keys wait as hints; if the process ends before their objects are captured, the next
    pass over the bucket finds them.

    Args:
        queue: Address of the queue.
        hints: Keys that wait for the source.
        location: Bucket whose objects are meant.
        name: Name of the source, for log lines.
        credentials: Folder with the keys that requests are signed with; None for boto3's own credentials.
        proxies: Proxies of the process.
        clock: Wall clock and monotonic clock.
    """

    def __init__(
        self, queue: str, *, hints: Hints, location: BucketLocation, name: str, credentials: Path | None,
        proxies: Proxies, clock: Clock,
    ) -> None:  # fmt: skip
        parts = urlsplit(queue)
        found = _HOST.fullmatch(parts.hostname or "")
        self._queue = queue
        self._hints = hints
        self._location = location
        self._name = name
        self._stop = StopFlag(clock)
        self._fault = ""
        self._client = AwsClient(
            "sqs",
            endpoint=f"{parts.scheme}://{parts.netloc}",
            region=found[1] if found else location.region,
            shown=f"queue {parts.path.rpartition('/')[2]} at {parts.netloc}",
            credentials=credentials,
            proxies=proxies,
        )

    def run(self) -> None:
        """Read the queue until `stop` is called."""
        failures = 0
        while not self._stop.is_set():
            try:
                self._read_once()
            except EavesError as error:
                failures += 1
                self._report(error.message)
                self._stop.wait(RETRY.pause_s(failures, jitter=random.random()))  # noqa: S311
            else:
                failures = 0
                self._report("")
        self._client.close()

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._stop.set()
        self._client.abort()

    def _read_once(self) -> None:
        """Receive, pass on and delete messages once."""
        asked = {"MaxNumberOfMessages": _BATCH, "WaitTimeSeconds": WAIT_S, "VisibilityTimeout": HIDDEN_S}
        answer = self._client.request(lambda sqs: sqs.receive_message(QueueUrl=self._queue, **asked), "its messages")
        entries = []
        for number, message in enumerate(answer.get("Messages", ())):
            self._pass_on(message.get("Body", ""))
            entries.append({"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]})
        if entries:
            self._client.request(
                lambda sqs: sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries), "its messages"
            )

    def _pass_on(self, body: str) -> None:
        try:
            keys = parse_notification(body, bucket=self._location.name, prefix=self._location.prefix)
        except ValueError as error:
            _log.warning("source %s: a message of its queue is no notification and is deleted: %s", self._name, error)
            return
        self._hints.offer(keys)

    def _report(self, fault: str) -> None:
        """Log that the queue can't be read, or can be read again, when that has changed."""
        if self._stop.is_set() or fault == self._fault:
            return
        self._fault = fault
        if fault:
            _log.warning(
                "source %s can't read its queue, so new images are found by listing only: %s", self._name, fault
            )
        else:
            _log.info("source %s reads its queue again", self._name)
