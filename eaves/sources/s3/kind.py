"""The kind of source `s3`, which captures the images in a bucket: its settings and the function that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from urllib.parse import urlsplit

from eaves.bucket.location import BucketLocation, parse_location
from eaves.config import setting
from eaves.reachability import find_address
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind


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
    queue: str = setting(
        "", "Address of a queue of Amazon SQS to which the bucket reports new objects; empty for no queue."
    )

    @property
    def location(self) -> BucketLocation:
        """Location of the bucket."""
        return parse_location(self.bucket, endpoint=self.endpoint, region=self.region)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        try:
            parse_location(self.bucket, endpoint=self.endpoint, region=self.region)
        except ValueError as error:
            name, _, message = str(error).partition(": ")
            yield {"address": "bucket"}.get(name, name), message
        if self.queue and not _is_queue(self.queue):
            yield (
                "queue",
                "must be the address of a queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/images",
            )


def _is_queue(address: str) -> bool:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and parts.path.count("/") >= 1 and len(parts.path) > 1 and "@" not in parts.netloc


def run(settings: S3SourceSettings, context: SourceContext) -> None:
    """Capture images until the context says to stop."""
    from eaves.sources.s3.source import S3Source  # settings are read where no bucket is read, too

    S3Source(settings, context).run()


def find_addresses(settings: S3SourceSettings) -> Iterator[str]:
    """Yield the `HOST:PORT` of the store and of the queue, `tls://HOST:PORT` with TLS."""
    yield find_address(settings.location.base_url)
    if settings.queue:
        yield find_address(settings.queue)


KIND = SourceKind(
    settings=S3SourceSettings,
    run=run,
    runs_as=("service",),
    remembers=lambda settings: settings.max_objects,
    extra="s3",
    addresses=find_addresses,
    refers=lambda settings: settings.location.base_url if settings.sends == "reference" else "",
)
