"""Settings of claim checks, which every source has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eaves.config import setting
from eaves.reachability import find_address

if TYPE_CHECKING:
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
    claim_check_timeout_s: float = setting(
        10.0,
        "Seconds that storing one image in the bucket may take. An image that takes longer, or that comes while the "
        "bucket can't be used, is sent with its data.",
        minimum=0.1,
        maximum=250,
    )

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
