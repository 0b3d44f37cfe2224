"""The s3 source: look at keys that notifications name, list the bucket, capture new images."""

from __future__ import annotations

import random
from contextlib import suppress

from eaves import media_type
from eaves.base.backoff import Backoff
from eaves.bucket.bucket import Bucket, StoredObject
from eaves.bucket.s3_bucket import S3Bucket
from eaves.errors import (
    ConfigError,
    DeliveryError,
    ForbiddenError,
    ImageTooLargeError,
    NotFoundError,
    SpoolError,
    StatusError,
)
from eaves.events import event_id
from eaves.sources.context import SourceContext
from eaves.sources.faults import ImageFaults, capture_when_possible, explain_refusal
from eaves.sources.files import build_text
from eaves.sources.frame import Frame, Outcome
from eaves.sources.s3.kind import S3SourceSettings
from eaves.sources.s3.notifications import Notifications
from eaves.sources.s3.scan import BucketScan
from eaves.sources.sent_images import SentImages

RETRY = Backoff(retry=None, first_s=1.0, cap_s=60.0)
"""Pauses between attempts to read a bucket that can't be read."""
HINTS_AT_ONCE = 1_000
"""Number of keys that are looked at before the listing continues."""
POLL_S = 60.0
"""Maximum wait, seconds; each wait shows the agent that the source isn't hung."""
_MEDIA = {"jpg": "jpeg", "tif": "tiff"}
_UNAVAILABLE = (DeliveryError, ConfigError, NotFoundError, ForbiddenError)


class S3Source:
    """Captures the images of one bucket.

    Args:
        settings: Bucket, and how it is read.
        context: Interface to the agent.
        bucket: The bucket; None to open it.

    Attributes:
        hints: Keys that wait to be looked at.
    """

    def __init__(self, settings: S3SourceSettings, context: SourceContext, bucket: Bucket | None = None) -> None:
        self._context = context
        self._clock = context.clock
        self._location = settings.location
        self._bucket = bucket or S3Bucket(self._location, credentials=context.credentials, proxies=context.proxies)
        self._refers = settings.sends == "reference"
        self._faults = ImageFaults(context)
        self.hints = Notifications(settings, context)
        self._sent = SentImages(
            context.index,
            context.source,
            max_present=settings.max_objects,
            clock=context.clock,
            options=context.options_digest,
        )
        self._max_objects = settings.max_objects
        self._scan = BucketScan(
            self._bucket,
            self._location.prefix,
            every_s=settings.every_s,
            full_every_s=settings.full_every_s,
            clock=context.clock,
            begin=self._sent.begin_scan,
            end=self._sent.end_scan,
            stopping=lambda: context.stopping,
        )

    def run(self) -> None:
        """Capture images until the agent stops. Waits for a bucket that can't be read and for a spool that is full."""
        try:
            with self._context.on_stop(self._wake):
                self._run()
        finally:
            with suppress(SpoolError):  # then the next start reads these images again
                self._sent.save()
            self.hints.stop()
            self._bucket.close()

    def _run(self) -> None:
        failures = 0
        self.hints.start()
        while not self._context.stopping:
            try:
                self._look_at_hints()
                self._scan.step(self._look_at_found)
                self._sent.save()
            except (SpoolError, *_UNAVAILABLE) as error:
                if self._context.stopping:
                    return
                failures += 1
                self._context.report(
                    "waiting", explain_refusal(error) if isinstance(error, SpoolError) else error.message
                )
                self._context.wait(RETRY.pause_s(failures, jitter=random.random()))  # noqa: S311
                continue
            if failures:
                self._context.reconnected()
            failures = 0
            self._report_state()
            self.hints.wait(min(POLL_S, self._scan.next_at - self._clock.monotonic()))

    def _look_at_hints(self) -> None:
        """Look at the objects that notifications name.

        A key whose object can't be read now isn't looked at again, because a key of somebody's choice could then hold
        up all others: the next whole pass finds its object.
        """
        for _ in range(HINTS_AT_ONCE):
            key = None if self._context.stopping else self.hints.take()
            if key is None:
                return
            if not self._is_image(key):
                continue
            try:
                found = self._bucket.find(key)
                self._look_at(found, self._identify(found))
            except (NotFoundError, ForbiddenError, StatusError):
                continue  # the object was deleted, or its key is odd; the next pass finds what is wrong with the bucket

    def _look_at_found(self, found: StoredObject) -> None:
        """Look at an object that the scan has found."""
        if self._is_image(found.key) and found.size_bytes:
            identity = self._identify(found)
            self._sent.find(identity)
            self._look_at(found, identity)

    def _look_at(self, found: StoredObject, identity: str) -> None:
        """Capture an object unless it was sent."""
        if found.size_bytes == 0 or identity in self._sent or self._sent.full:
            return
        outcome = self._capture(found, identity)
        if outcome is Outcome.DROPPED:
            self._sent.pass_over(identity)
        elif outcome is not None:
            self._sent.add(identity)

    def _capture(self, found: StoredObject, identity: str) -> Outcome | None:
        """Read an object and pass it to the agent; None when this version is gone, or may be captured later.

        A fault of the object is reported, so that other objects can follow.

        Raises:
            DeliveryError: When the store can't be reached.
            ConfigError: When the store refuses the access key.
        """
        name, largest = build_text(found.key)[:256], self._context.max_bytes
        try:
            if found.size_bytes > largest:
                raise ImageTooLargeError(f"it has {found.size_bytes} bytes, more than {largest}")
            outcome = capture_when_possible(self._context, self._build_frame(found))
        except ImageTooLargeError as error:
            self._faults.report("too_large", identity, f"{name}: {error.message}")
            return Outcome.UNUSABLE
        except NotFoundError:
            return None
        except (ForbiddenError, StatusError) as error:
            self._faults.report("unreadable", identity, f"{error.message}; the source tries again")
            return None
        except (DeliveryError, ConfigError):
            raise
        except Exception as error:  # noqa: BLE001 - one object must not stop all others
            self._faults.report(
                "failed", identity, f"{name} can't be made into an event; the source tries again", error
            )
            return None
        return outcome

    def _build_frame(self, found: StoredObject) -> Frame:
        below = found.key.removeprefix(self._location.prefix).lstrip("/")
        first, deeper, _ = below.partition("/")
        dataref = digest = content_type = ""
        data = b""
        if self._refers:
            exact = self._bucket.inspect(found)
            dataref, digest = self._bucket.url(exact), exact.digest
            suffix = below.rpartition(".")[2].lower()
            content_type = f"image/{_MEDIA.get(suffix, suffix)}"
        else:
            data = self._bucket.get(found, self._context.max_bytes)
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

    def _identify(self, found: StoredObject) -> str:
        """Return the id of the event that one version of an object becomes."""
        return event_id(self._context.source, self._position(found))

    def _position(self, found: StoredObject) -> str:
        """Return the text that identifies one version of an object.

        Listings have no version ids. Content and time of the last change tell versions apart as well, and are the same
        in a bucket without versions.
        """
        return f"{self._location.name}\0{found.key}\0{found.etag}\0{found.modified_at_ns}"

    def _is_image(self, key: str) -> bool:
        below = key.removeprefix(self._location.prefix).lstrip("/")
        if media_type.is_unsupported_path(below):
            self._faults.report_unsupported(key, build_text(key))
        return media_type.is_image_path(below)

    def _report_state(self) -> None:
        if self._sent.full:
            reason = f"the {self._location.shown} holds max_objects images ({self._max_objects}) below its prefix"
            self._context.report("paused", f"{reason}; capture is paused until some are removed")
        else:
            self._context.report("watching")

    def _wake(self) -> None:
        self.hints.stop()
        self._bucket.abort()
