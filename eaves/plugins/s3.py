"""The s3 source: list the bucket, capture new images.

The order of keys is not the order of arrival, so only a whole pass finds every new object. It takes one request for
each thousand keys. Most cameras write keys that grow with time below a folder of their own, such as
`gate/2026/11/26/131502.jpg`. Therefore the last known keys of each folder directly below the prefix are kept, and what
follows the first of them is listed more often, by one request for each folder. They are several, because an object that
is overwritten all the time, such as `gate/latest.jpg`, may be the last one forever.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, dataclass, replace
from itertools import islice

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
TAIL = 5
"""Number of last keys of a folder that are kept: room for four objects that are overwritten all the time."""
MAX_TAILS = 16
"""Maximum number of folders whose last keys are followed; those that changed last are kept. It bounds the requests of a
pass over them."""
MAX_FOLDERS = 1_000
"""Number of folders at which a whole pass keeps only those that changed last."""
PAGE_PACE_S = 1.0
"""Minimum time between two whole passes for each request that a pass takes, seconds: a bucket with ten million objects
costs one request a second on average."""
POLL_S = 60.0
"""Maximum wait, seconds; each wait shows the agent that the source isn't hung."""
_MEDIA = {"jpg": "jpeg", "tif": "tiff"}
_UNAVAILABLE = (DeliveryError, ConfigError, NotFoundError, ForbiddenError)
Tail = deque[StoredObject]


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
    sends: str = setting(
        "bytes",
        "`bytes`: events hold the images. `reference`: events hold only the address of the image in the bucket "
        "(`dataref`), and the function fetches it, if its `dataref_hosts` allow the store.",
        choices=("bytes", "reference"),
    )
    every_s: float = setting(
        30.0,
        "Seconds between two listings of the keys that follow the last known ones. They take one request for each "
        "folder directly below the prefix, for at most 16 folders. In a small bucket all keys are listed each time.",
        minimum=0.5,
        maximum=86_400,
    )
    full_every_s: float = setting(
        600.0,
        "Seconds between two listings of all keys, which find images whose keys precede known ones. They take one "
        "request for each 1,000 keys, at most one a second on average.",
        minimum=1,
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
        self._tails: dict[str, Tail] = {}
        self._found_tails: dict[str, Tail] = {}
        self._full_at, self._tails_at = float("-inf"), float("inf")
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
        self._list_some()
        self._sent.save()
        self._report_state()
        if self._cursor is not None:
            return 0.0
        return max(0.0, min(POLL_S, min(self._full_at, self._tails_at) - self._clock.monotonic()))

    def _list_some(self) -> None:
        """Look at the next objects if a pass is due: of a whole pass at most a thousand."""
        now = self._clock.monotonic()
        if self._tails_at <= now:
            self._list_tails()
            self._tails_at = self._clock.monotonic() + self._settings.every_s
        elif self._cursor is not None or self._full_at <= now:
            if self._cursor is None:
                self._sent.begin_scan()
                self._cursor, self._count, self._found_tails = "", 0, {}
            if self._objects is None:
                self._objects = self._bucket.list(self._prefix, after=self._cursor)
            try:
                if self._list_page(self._objects):
                    self._finish_pass()
            except BaseException:
                self._objects = None  # a generator that has failed yields nothing more
                raise

    def _list_page(self, objects: Iterator[StoredObject]) -> bool:
        """Look at up to `PAGE` objects of a whole pass; return True when it has ended."""
        for _ in range(PAGE):
            found = next(objects, None)
            if found is None:
                return True
            self._check_object(found)
            self._cursor = found.key
            self._count += 1
            self._found_tails.setdefault(self._folder(found.key), deque(maxlen=TAIL)).append(found)
            if len(self._found_tails) > MAX_FOLDERS:
                self._found_tails = _newest(self._found_tails)
            if self._context.stopping:
                return False
        return False

    def _finish_pass(self) -> None:
        self._sent.end_scan()
        self._cursor = self._objects = None
        self._tails, self._found_tails = _newest(self._found_tails), {}
        requests = self._count // PAGE + 1
        now, every_s = self._clock.monotonic(), self._settings.every_s
        if requests <= max(1, len(self._tails)):  # a whole pass costs no more than one over the folders' ends
            self._full_at, self._tails_at = now + every_s, float("inf")
        else:
            self._full_at = now + max(self._settings.full_every_s, requests * PAGE_PACE_S)
            self._tails_at = now + every_s

    def _list_tails(self) -> None:
        """Look at the objects after the first of the last known keys of each folder, by one request for each."""
        for folder, tail in self._tails.items():
            first = tail[0]
            tail.clear()
            tail.append(first)
            for found in islice(self._bucket.list(folder, after=first.key), PAGE):
                self._check_object(found)
                if self._folder(found.key) == folder:
                    tail.append(found)
                if self._context.stopping:
                    return

    def _folder(self, key: str) -> str:
        below = key[len(self._prefix) :]
        slash = below.find("/", 1)  # a prefix without a slash at its end may be followed by one
        return key[: len(self._prefix) + slash + 1] if slash >= 0 else self._prefix

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
        dataref = digest = content_type = ""
        data, largest = b"", self._context.max_bytes
        if found.size_bytes > largest:
            raise ImageTooLargeError(f"it has {found.size_bytes} bytes, more than {largest}")
        if self._settings.sends == "reference":
            exact = self._bucket.inspect(found)
            dataref, digest = self._bucket.url(exact), exact.digest
            suffix = below.rpartition(".")[2].lower()
            content_type = f"image/{_MEDIA.get(suffix, suffix)}"
        else:
            data = self._bucket.get(found, largest)
        return Frame(
            data=data,
            position=self._position(found),
            subject=build_text(below),
            captured_at_ns=found.modified_at_ns,
            camera=build_text(first) if deeper else "",
            content_type=content_type,
            dataref=dataref,
            digest=digest,
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


def _newest(tails: dict[str, Tail]) -> dict[str, Tail]:
    """Return the folders that changed last."""
    return dict(heapq.nlargest(MAX_TAILS, tails.items(), key=lambda one: max(found.modified_at_ns for found in one[1])))


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
    every_s=lambda _: 0.0,  # the setting of this name is the interval of its listings
    idle_s=lambda _: 5.0,
    explain=explain,
    addresses=lambda settings: [find_address(settings.location.base_url)],
    refers=lambda settings: settings.location.base_url if settings.sends == "reference" else "",
)
