"""Location of a bucket: its name, the prefix of the keys that are meant, the store's endpoint and the region."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from eaves.http_client.proxies import is_http_url

DEFAULT_REGION = "us-east-1"
"""Region for stores that have none, such as MinIO by default, and AWS's own default."""
EXAMPLE = "s3://photos/gate/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
"""Names of buckets. AWS allowed upper case and `_` until 2018, and other stores still do. Source: Amazon S3 User Guide,
Bucket naming rules."""
_REGION = re.compile(r"[A-Za-z0-9-]{1,40}")
_UNRESERVED = "/-_.~"
"""Characters that aren't percent-encoded in a path beside letters and digits. Source: AWS Signature Version 4,
UriEncode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLocation:
    """Location of a bucket.

    Attributes:
        name: Name of the bucket.
        prefix: Text with which the keys begin that are meant; empty for all keys.
        endpoint: Address of the store, http(s)://HOST[:PORT]; empty for Amazon S3.
        region: Region that requests are signed for.
    """

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = DEFAULT_REGION

    @property
    def base_url(self) -> str:
        """URL of the bucket itself, without a slash at its end.

        At an endpoint the bucket's name is in the path, which every store supports. At Amazon S3 it is in the host
        name, so that a function can allow datarefs of this bucket only. A name with dots can't be there, because no
        certificate covers it.
        """
        if self.endpoint:
            return f"{self.endpoint.rstrip('/')}/{self.name}"
        domain = f"s3.{self.region}.amazonaws.com{'.cn' if self.region.startswith('cn-') else ''}"
        return f"https://{domain}/{self.name}" if "." in self.name else f"https://{self.name}.{domain}"

    @property
    def shown(self) -> str:
        """Name of the bucket and of its store, for messages."""
        return f"bucket {self.name} at {urlsplit(self.base_url).netloc}"

    def url(self, key: str) -> str:
        """Return the URL of an object."""
        return f"{self.base_url}/{quote(key, safe=_UNRESERVED)}"


def parse_location(address: str, *, endpoint: str = "", region: str = "") -> BucketLocation:
    """Parse the address of a bucket.

    Args:
        address: `s3://NAME` or `s3://NAME/PREFIX`.
        endpoint: Address of the store; empty for Amazon S3.
        region: Region; empty for the default.

    Raises:
        ValueError: When one of them is malformed. The message begins with the name of the argument and doesn't contain
            the endpoint, which may hold a password.
    """
    scheme, separator, rest = address.partition("://")
    name, _, prefix = rest.partition("/")
    if scheme != "s3" or not separator or not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"address: must be the address of a bucket, such as {EXAMPLE} (got {address[:80]!r})")
    if endpoint and (not is_http_url(endpoint) or set("?#@") & set(endpoint)):
        raise ValueError("endpoint: must be http://HOST:PORT or https://HOST:PORT, such as https://minio.example:9000")
    if region and not _REGION.fullmatch(region):
        raise ValueError(f"region: must be the name of a region, such as eu-central-1 (got {region[:80]!r})")
    return BucketLocation(name=name, prefix=prefix, endpoint=endpoint.rstrip("/"), region=region or DEFAULT_REGION)
