"""Claim checks: large images go to a bucket, and their events refer to them by `dataref`.

An image is in the bucket before its event is in the spool, so no event refers to an image that doesn't exist. While the
bucket can't be used, events keep their data, because predictions must not depend on a link.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eaves import media_type
from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.config import setting
from eaves.credentials.redact import redact
from eaves.errors import EavesError
from eaves.events import DATADIGEST, DATAREF, Event
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.reachability import find_address
from eaves.sources.options.editor import RecentValues

if TYPE_CHECKING:
    from eaves.bucket.bucket import Bucket
    from eaves.bucket.location import BucketLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCheckSettings:
    """Settings that keep large images in a bucket; docs/23-buckets.md explains them."""

    claim_check_over_bytes: int = setting(
        0,
        "Size in bytes above which an image is stored in `claim_check_bucket`; its event then has the image's URL "
        "(`dataref`) and digest instead of its data. The default, 0, stores none.",
        minimum=0,
    )
    claim_check_bucket: str = setting(
        "",
        "Bucket for large images, s3://NAME or s3://NAME/PREFIX. `credentials` holds its `access_key` and "
        "`secret_key`. The function fetches the images, so `function.dataref_hosts` must allow the bucket's host.",
    )
    claim_check_endpoint: str = setting(
        "", "Address of the store that has the bucket, such as https://minio.example:9000; empty: Amazon S3."
    )
    claim_check_region: str = setting("", "Region of the bucket. The default, empty, is us-east-1.")

    def location(self) -> BucketLocation | None:
        """Return the location of the bucket; None when no image is stored in one.

        Raises:
            ValueError: When the address of the bucket is malformed.
        """
        if not self.claim_check_over_bytes:
            return None
        from eaves.bucket.location import parse_location  # an agent without claim checks needs no HTTP client for it

        return parse_location(
            self.claim_check_bucket, endpoint=self.claim_check_endpoint, region=self.claim_check_region
        )

    def addresses(self) -> Iterator[str]:
        """Yield the `HOST:PORT` of the bucket, `tls://HOST:PORT` with TLS; nothing when no image is stored in one."""
        location = self.location()
        if location is not None:
            yield find_address(location.base_url)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if not self.claim_check_over_bytes:
            if self.claim_check_bucket:
                yield "claim_check_bucket", "has no effect without claim_check_over_bytes"
            return
        try:
            self.location()
        except ValueError as error:
            name, _, message = str(error).partition(": ")
            yield f"claim_check_{'bucket' if name == 'address' else name}", message


RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses before a bucket that could not be used is tried again."""
TIMEOUT_S = 10.0
"""Time that storing one image may take, seconds. An image that takes longer is sent with its data."""
MAX_STORED = 1_000
"""Number of stored images that are remembered, so that an image that waits for a full spool isn't stored again."""
TEST_OBJECT = "connection-test"
"""Last part of the key of an empty object, which is written to find out whether the bucket can be used again."""

_log = logging.getLogger(__name__)


class ClaimChecker:
    """Puts the images of one source that are larger than a limit into a bucket. Safe to use from many threads.

    While the bucket can't be used, events keep their data, and the spool stores them as it stores all others. So no
    image is lost, and only the image that finds out waits, for the bucket's time limit at most. A thread tries the
    bucket again after growing pauses.

    Args:
        bucket: The bucket.
        over_bytes: Size in bytes above which an image is stored in the bucket.
        prefix: Beginning of the keys.
        clock: Wall clock and monotonic clock.

    Attributes:
        reason: Why the bucket can't be used now; empty while it can.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        over_bytes: int,
        prefix: str = "",
        clock: Clock = SYSTEM,
    ) -> None:
        self._bucket = bucket
        self._over_bytes = over_bytes
        self._prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
        self._lock = threading.Lock()
        self._stored: RecentValues[str] = RecentValues(MAX_STORED)
        self._stop = StopFlag(clock)
        self.reason = ""

    def check_in(self, event: Event, *, is_known: Callable[[], bool] = lambda: False) -> Event:
        """Return the event of an image, without data when its image is in the bucket.

        Args:
            event: Event with the image as its data, and its digest.
            is_known: Function that says whether the event was spooled before. Such an image isn't stored again.
        """
        if len(event.data) <= self._over_bytes:
            return event
        key = self._build_key(event)
        with self._lock:
            url = self._stored.get(key)
        if url is None and self.reason:
            return event
        if url is None and is_known():
            return event
        if url is None:
            try:
                url = self._bucket.put(key, event.data, content_type=event.datacontenttype or media_type.UNKNOWN)
            except EavesError as error:
                self._fail(error, event.source)
                return event
            with self._lock:
                self._stored.put(key, url)
        return replace(event, data=b"").with_extensions(**{DATAREF: url})

    def stop(self) -> None:
        """End the requests in progress."""
        self._stop.set()
        self._bucket.abort()

    def _build_key(self, event: Event) -> str:
        """Return the key of an event's image, which is the same at each repetition.

        It contains the digest, so that an image with the same id and other data, for example after a change of `crop`,
        never replaces an image that an event refers to.
        """
        digest = event.extensions[DATADIGEST].removeprefix("sha256:")[:16]
        suffix = media_type.suffix(event.datacontenttype)
        return f"{self._prefix}{_name(event.source)}/{event.id}-{digest}{suffix}"

    def _fail(self, error: EavesError, source: str) -> None:
        """Send the following images with their data until a thread finds that the bucket can be used again."""
        with self._lock:
            was_broken = bool(self.reason)
            self._note(error, source)
        if not was_broken:
            threading.Thread(target=self._recover, args=(source,), name="claim-check", daemon=True).start()

    def _note(self, error: EavesError, source: str) -> None:
        reason = redact(error.message)[:256]
        if reason != self.reason:
            self.reason = reason
            what = "large images are sent with their data, because their bucket can't be used"
            _log.warning("source %s: %s: %s", _name(source), what, reason)

    def _recover(self, source: str) -> None:
        """Try the bucket after growing pauses until it can be used."""
        key, failures = f"{self._prefix}{_name(source)}/{TEST_OBJECT}", 1
        while not self._stop.wait(RETRY.pause_s(failures)):
            try:
                self._bucket.put(key, b"", content_type=media_type.UNKNOWN)
            except EavesError as error:
                failures += 1
                self._note(error, source)
            else:
                self.reason = ""
                _log.info("source %s: large images are stored in their bucket again", _name(source))
                return


def open_claim_checker(
    settings: ClaimCheckSettings, *, credentials: Path | None, proxies: Proxies = DIRECT
) -> ClaimChecker | None:
    """Return the claim checker of a source; None when its images are never stored in a bucket. No request is sent yet.

    Args:
        settings: Settings of the source, without faults.
        credentials: Folder of the source's credentials.
        proxies: Proxies of the process.
    """
    location = settings.location()
    if location is None:
        return None
    from eaves.bucket.s3_bucket import S3Bucket  # an agent without a bucket needs no boto3

    bucket = S3Bucket(location, credentials=credentials, proxies=proxies, timeout_s=TIMEOUT_S)
    return ClaimChecker(bucket, over_bytes=settings.claim_check_over_bytes, prefix=location.prefix)


def _name(source: str) -> str:
    """Return SITE/NAME of the `source` of an event."""
    return source.removeprefix("/eaves/")
