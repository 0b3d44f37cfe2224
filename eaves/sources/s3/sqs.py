"""Reader of a queue of Amazon SQS, to which a bucket reports new objects.

Source: Amazon SQS API Reference, ReceiveMessage and DeleteMessageBatch, JSON protocol.
"""

from __future__ import annotations

import json
import logging
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eaves.base.backoff import Backoff
from eaves.base.clock import Clock, StopFlag
from eaves.base.strict_json import parse_json
from eaves.bucket.aws_client import AwsClient
from eaves.bucket.location import BucketLocation
from eaves.errors import EavesError, StatusError
from eaves.http_client.proxies import Proxies
from eaves.http_client.response_body import LargeAnswerError
from eaves.sources.s3.hints import Hints
from eaves.sources.s3.notification import MAX_BYTES, parse_notification

RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between requests to a queue that can't be read."""
WAIT_S = 15
"""Time that the queue holds a request back until there is a message, seconds."""
HIDDEN_S = 60
"""Time after which the queue gives a message again that wasn't deleted, seconds."""
_BATCH = 10
_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_TYPE = "application/x-amz-json-1.0"

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
        credentials: Folder with the keys that requests are signed with; None for none.
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
        self._url = f"{parts.scheme}://{parts.netloc}/"
        self._hints = hints
        self._location = location
        self._name = name
        self._stop = StopFlag(clock)
        self._fault = ""
        region = found[1] if found else location.region
        self._client = AwsClient(region=region, service="sqs", credentials=credentials, proxies=proxies, clock=clock)

    def run(self) -> None:
        """Read the queue until `stop` is called."""
        failures = 0
        while not self._stop.is_set():
            try:
                self.read_once()
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

    def read_once(self) -> int:
        """Receive, pass on and delete messages once; return how many there were.

        Raises:
            EavesError: When the queue can't be read.
        """
        asked = {"MaxNumberOfMessages": _BATCH, "WaitTimeSeconds": WAIT_S, "VisibilityTimeout": HIDDEN_S}
        received = self._call("ReceiveMessage", asked).get("Messages")
        messages = [one for one in received if isinstance(one, dict)] if isinstance(received, list) else []
        for message in messages:
            self._pass_on(message.get("Body"))
        entries = [
            {"Id": str(number), "ReceiptHandle": one.get("ReceiptHandle")} for number, one in enumerate(messages)
        ]
        if entries:
            self._call("DeleteMessageBatch", {"Entries": entries})
        return len(messages)

    def _pass_on(self, body: Any) -> None:
        try:
            text = body if isinstance(body, str) else ""
            keys = parse_notification(text, bucket=self._location.name, prefix=self._location.prefix)
        except ValueError as error:
            _log.warning("source %s: a message of its queue is no notification and is deleted: %s", self._name, error)
            return
        self._hints.offer(keys)

    def _call(self, action: str, values: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": _TYPE, "X-Amz-Target": f"AmazonSQS.{action}"}
        body = json.dumps({"QueueUrl": self._queue, **values}).encode()
        try:
            answer = self._client.send("POST", self._url, headers=headers, body=body, max_bytes=2 * _BATCH * MAX_BYTES)
            document = parse_json(answer.body or b"{}")
        except (LargeAnswerError, ValueError) as error:
            raise self._malformed(502) from error
        if not isinstance(document, dict):
            raise self._malformed(answer.status)
        if not 200 <= answer.status < 300:
            kind = str(document.get("__type", "")).rpartition("#")[2][:80]
            shown = f" ({kind})" if kind.isascii() and kind.isprintable() and kind else ""
            raise StatusError(f"it answers with status {answer.status}{shown}", status=answer.status)
        return document

    def _malformed(self, status: int) -> StatusError:
        return StatusError("it answers with text that is no JSON object", status=status)

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
