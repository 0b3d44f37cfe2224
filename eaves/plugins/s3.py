"""The s3 source: list the bucket, capture new images.

The order of keys is not the order of arrival, so only a pass over all keys finds every new object. It takes one request
for each thousand keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, dataclass, replace

from eaves import media_type
from eaves.bucket.bucket import Bucket, StoredObject
from eaves.bucket.location import BucketLocation, parse_location
from eaves.config import setting
from eaves.errors import (
    ConfigError,
    DeliveryError,
    ForbiddenError,
    ImageTooLargeError,
    NotFoundError,
    SpoolError,
)
from eaves.events import event_id
from eaves.reachability import find_address
from eaves.sources.context import Frame, SourceContext
from eaves.sources.files import build_text
from eaves.sources.kind import FailedStep, SourceKind, explain_empty
from eaves.sources.retry import UNSUPPORTED, repeat
from eaves.sources.sent_images import SentImages

PAGE = 1_000
"""Number of objects that one step of a pass handles, which one request lists."""
PAGE_PACE_S = 1.0
"""Minimum time between two passes for each request that a pass takes, seconds: a bucket with ten million objects
costs one request a second on average."""
POLL_S = 60.0
"""Maximum wait, seconds; each wait shows the agent that the source isn't hung."""
_UNAVAILABLE = (DeliveryError, ConfigError, NotFoundError, ForbiddenError)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3SourceSettings:
    """Settings of a bucket."""

    bucket: str = setting(
        MISSING,
        "Address of the bucket, s3://NAME, or of a part of it, s3://NAME/PREFIX. Only objects whose keys begin with "
        "the prefix are captured.",
    )
    endpoint: str = setting(
        "",
        "Address of the store, http:// or https://, such as https://minio.example:9000. The default, empty, is "
        "Amazon S3.",
    )
    region: str = setting(
        "", "Region of the bucket. The default, empty, is us-east-1, which most stores beside Amazon S3 use."
    )
    every_s: float = setting(
        30.0,
        "Seconds between two listings of all keys. They take one request for each 1,000 keys, at most one a second on "
        "average, so in a bucket with 100,000 keys a new image is found after 100 seconds at most.",
        minimum=0.5,
        maximum=86_400,
    )
    max_objects: int = setting(
        1_000_000,
        "Number of images below the prefix at which capture is paused until some are removed, because the spool could "
        "not remember all that were sent. It remembers twice as many, about 60 bytes each.",
        minimum=1,
    )

    @property
    def location(self) -> BucketLocation:
        """Location of the bucket."""
        return parse_location(self.bucket, endpoint=self.endpoint, region=self.region)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        try:
            self.location  # noqa: B018 - parsed
        except ValueError as error:
            name, _, message = str(error).partition(": ")
            yield "bucket" if name == "address" else name, message


class S3Source:
    """Captures the images of one bucket.

    A step of a pass that fails is repeated from the object after the last one that was looked at.

    Args:
        settings: Bucket, and how it is read.
        context: Interface to the agent.
        bucket: The bucket; None to open it.
    """

    def __init__(self, settings: S3SourceSettings, context: SourceContext, bucket: Bucket | None = None) -> None:
        self._settings = settings
        self._context = context
        self._clock = context.clock
        self._location = settings.location
        self._prefix = self._location.prefix
        if bucket is None:
            from eaves.bucket.s3_bucket import S3Bucket  # settings are read where boto3 isn't installed, too

            bucket = S3Bucket(self._location, credentials=context.credentials, proxies=context.proxies)
        self._bucket = bucket
        self._sent = SentImages(context, max_present=settings.max_objects)
        self._due_at = float("-inf")
        self._objects: Iterator[StoredObject] | None = None
        self._cursor: str | None = None
        self._count = 0

    def run(self) -> None:
        """Capture images until the agent stops. Waits for a bucket that can't be read and for a spool that is full."""
        try:
            with self._context.on_stop(self._bucket.abort):
                repeat(self._context, self._list, _UNAVAILABLE)
        finally:
            with suppress(SpoolError):  # then the next start reads these images again
                self._sent.save()
            self._bucket.close()

    def _list(self) -> float:
        """List and capture what is due; return the seconds until more is."""
        if self._cursor is not None or self._due_at <= self._clock.monotonic():
            self._continue_pass()
        self._sent.save()
        self._report_state()
        if self._cursor is not None:
            return 0.0
        return max(0.0, min(POLL_S, self._due_at - self._clock.monotonic()))

    def _continue_pass(self) -> None:
        """Look at the next objects of a pass, at most a thousand."""
        if self._cursor is None:
            self._sent.begin_scan()
            self._cursor, self._count = "", 0
        if self._objects is None:
            self._objects = self._bucket.list(self._prefix, after=self._cursor)
        try:
            for _ in range(PAGE):
                found = next(self._objects, None)
                if found is None:
                    self._finish_pass()
                    return
                self._check_object(found)
                self._cursor = found.key
                self._count += 1
                if self._context.stopping:
                    return
        except BaseException:
            self._objects = None  # a generator that has failed yields nothing more
            raise

    def _finish_pass(self) -> None:
        self._sent.end_scan()
        self._cursor = self._objects = None
        requests = self._count // PAGE + 1
        self._due_at = self._clock.monotonic() + max(self._settings.every_s, requests * PAGE_PACE_S)

    def _check_object(self, found: StoredObject) -> None:
        """Capture an object of the listing unless it was sent."""
        if self._is_image(found.key) and found.size_bytes:
            identity = event_id(self._context.source, self._position(found))
            self._sent.find(identity)
            if identity not in self._sent and not self._sent.full:
                self._sent.capture(identity, build_text(found.key)[:256], lambda: self._build_frame(found))

    def _build_frame(self, found: StoredObject) -> Frame:
        below = found.key.removeprefix(self._prefix).lstrip("/")
        first, deeper, _ = below.partition("/")
        largest = self._context.max_bytes
        if found.size_bytes > largest:
            raise ImageTooLargeError(f"it has {found.size_bytes} bytes, more than {largest}")
        return Frame(
            data=self._bucket.get(found, largest),
            position=self._position(found),
            subject=build_text(below),
            captured_at_ns=found.modified_at_ns,
            camera=build_text(first) if deeper else "",
        )

    def _position(self, found: StoredObject) -> str:
        """Return the text that identifies one version of an object.

        Listings have no version ids. Content and time of the last change tell versions apart as well, and are the same
        in a bucket without versions.
        """
        return f"{self._location.name}\0{found.key}\0{found.etag}\0{found.modified_at_ns}"

    def _is_image(self, key: str) -> bool:
        below = key.removeprefix(self._prefix).lstrip("/")
        if media_type.is_unsupported_path(below):
            self._context.drop("unsupported", reason=f"{build_text(key)[:256]}: {UNSUPPORTED}", key=f"{key}//")
        return media_type.is_image_path(below)

    def _report_state(self) -> None:
        if self._sent.full:
            reason = (
                f"the {self._location.shown} holds max_objects images ({self._settings.max_objects}) below its prefix"
            )
            self._context.report("paused", f"{reason}; capture is paused until some are removed")
        else:
            self._context.report("watching")


def explain(settings: S3SourceSettings, failed: FailedStep) -> FailedStep:
    """Name the files with the keys, or say that the bucket has no image."""
    if failed.name == "login":
        folder = failed.credentials or "a folder that --credentials names"
        hint = f"check the files access_key and secret_key in {folder}, and the rights of the key"
        return replace(failed, hint=hint)
    return explain_empty(failed, f"bucket {settings.bucket}")


KIND = SourceKind(
    settings=S3SourceSettings,
    run=lambda settings, context: S3Source(settings, context).run(),
    remembers=lambda settings: settings.max_objects,
    place_setting="bucket",
    extra="s3",
    schemes=("s3",),
    parse_place=lambda text: {"bucket": text} if text.lower().startswith("s3://") else None,
    idle_s=lambda _: 5.0,
    explain=explain,
    addresses=lambda settings: [find_address(settings.location.base_url)],
)
