"""A bucket of a store with the S3 API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from eaves.bucket.aws_client import TOTAL_TIMEOUT_S, AwsClient
from eaves.bucket.bucket import StoredObject
from eaves.bucket.location import BucketLocation
from eaves.errors import ImageTooLargeError, NotFoundError, StatusError, UnreachableError
from eaves.http_client.proxies import DIRECT, Proxies

PAGE_KEYS = 1_000
"""Number of keys in one page, which is the maximum. Source: Amazon S3 API Reference, ListObjectsV2, MaxKeys."""
_SHOWN = 256
"""Maximum number of characters of a key in a message."""
T = TypeVar("T")


class S3Bucket:
    """Implements `eaves.bucket.bucket.Bucket`; no request is sent before it is used.

    Args:
        location: Location of the bucket.
        credentials: Folder of files as `AwsClient` reads them; None for boto3's own credentials.
        proxies: Proxies of the process.
        timeout_s: Time limit for one request with its answer, seconds.
        page_keys: Maximum number of keys in a page of a listing.
    """

    def __init__(
        self,
        location: BucketLocation,
        *,
        credentials: Path | None = None,
        proxies: Proxies = DIRECT,
        timeout_s: float = TOTAL_TIMEOUT_S,
        page_keys: int = PAGE_KEYS,
    ) -> None:
        self.location = location
        self._page_keys = page_keys
        self._client = AwsClient(
            endpoint=location.endpoint,
            region=location.region,
            shown=location.shown,
            credentials=credentials,
            proxies=proxies,
            timeout_s=timeout_s,
        )

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with `prefix` and follow `after`, in the store's order."""
        asked = {"Bucket": self.location.name, "Prefix": prefix, "PaginationConfig": {"PageSize": self._page_keys}}
        if after:
            asked["StartAfter"] = after
        pages = self._request(lambda s3: iter(s3.get_paginator("list_objects_v2").paginate(**asked)))
        truncated = True
        while truncated:
            page: dict[str, Any] | None = self._request(lambda _: next(pages, None))
            if page is None:  # taken for the end of the listing, it would make all further objects count as deleted
                raise StatusError(f"the {self.location.shown} names no next page of its listing", status=502)
            yield from map(_read_object, page.get("Contents", ()))
            truncated = page.get("IsTruncated", False)

    def find(self, key: str) -> StoredObject:
        """Return the present version of an object, exactly as `list` yields it.

        The listing is asked for it and not the object itself: stores give the time with other digits there.
        """
        page = self._request(lambda s3: s3.list_objects_v2(Bucket=self.location.name, Prefix=key, MaxKeys=1))
        found = [_read_object(one) for one in page.get("Contents", ())]
        if not found or found[0].key != key:
            raise NotFoundError(f"the object {key[:_SHOWN]} does not exist in the {self.location.shown}")
        return found[0]

    def inspect(self, found: StoredObject) -> StoredObject:
        """Return the object with its version id and digest, as far as the store knows them."""
        asked = {**self._name(found), "ChecksumMode": "ENABLED"}
        answer = self._request(lambda s3: s3.head_object(**asked), found.key)
        version_id = answer.get("VersionId", "")
        digest = _read_digest(answer.get("ChecksumSHA256", ""))
        return replace(found, version_id="" if version_id == "null" else version_id, digest=digest)

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        """Return the content of this version of an object."""

        def read(s3: Any) -> bytes:
            with s3.get_object(**self._name(found))["Body"] as body:
                return bytes(body.read(max_bytes + 1))

        data = b"" if found.size_bytes > max_bytes else self._request(read, found.key)
        if max(len(data), found.size_bytes) > max_bytes:
            raise ImageTooLargeError(f"the object {found.key[:_SHOWN]} has more than {max_bytes} bytes")
        if len(data) != found.size_bytes:
            raise UnreachableError(f"the {self.location.shown} did not send the object {found.key[:_SHOWN]} completely")
        return data

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        """Store an object durably and return its URL, as it stands in `dataref`."""
        url = self._build_url(key)
        asked = {"Bucket": self.location.name, "Key": key, "Body": data, "ContentType": content_type}
        self._request(lambda s3: s3.put_object(**asked), key)
        return url

    def url(self, found: StoredObject) -> str:
        """Return the URL of an object without credentials; with a version id, it is the URL of that version."""
        version = f"?versionId={quote(found.version_id, safe='-_.~')}" if found.version_id else ""
        return self._build_url(found.key) + version

    def abort(self) -> None:
        """End the requests in progress, and all later ones, from any thread."""
        self._client.abort()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _request(self, send: Callable[[Any], T], key: str = "") -> T:
        return self._client.request(send, f"the object {key[:_SHOWN]}" if key else "the listing")

    def _name(self, found: StoredObject) -> dict[str, str]:
        """Return the arguments that name one version of an object."""
        version = {"VersionId": found.version_id} if found.version_id else {}
        condition = {"IfMatch": f'"{found.etag}"'} if found.etag else {}
        return {"Bucket": self.location.name, "Key": found.key, **version, **condition}

    def _build_url(self, key: str) -> str:
        if not key or {".", ".."} & set(key.split("/")):  # HTTP clients resolve such parts of a path
            raise NotFoundError(f"the object {key[:_SHOWN]!r} has a key that no URL can name")
        return self.location.url(key)


def _read_object(entry: Mapping[str, Any]) -> StoredObject:
    """Return an object of a listing, with its time exactly as the store gives it, in milliseconds at most."""
    return StoredObject(
        key=entry["Key"],
        etag=entry.get("ETag", "").strip('"'),
        size_bytes=entry["Size"],
        modified_at_ns=round(entry["LastModified"].timestamp() * 1_000) * 1_000_000,
    )


def _read_digest(checksum: str) -> str:
    """Return the SHA-256 that the store has of the whole content; empty when it has none.

    The checksum of an object that was uploaded in parts is one of the parts' checksums, and ends with their number.
    Source: Amazon S3 User Guide, Checking object integrity.
    """
    try:
        raw = base64.b64decode(checksum, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f"sha256:{raw.hex()}" if len(raw) == 32 else ""
