"""A bucket of a store with the S3 API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

from eaves.base.clock import SYSTEM, Clock
from eaves.bucket.aws_client import TOTAL_TIMEOUT_S, Answer, AwsClient
from eaves.bucket.bucket import StoredObject
from eaves.bucket.listing import PAGE_BYTES, PAGE_KEYS, ListingPage, parse_page
from eaves.bucket.location import BucketLocation
from eaves.bucket.s3_errors import explain_refusal
from eaves.credentials.aws_signature import S3
from eaves.errors import ImageTooLargeError, NotFoundError, StatusError
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.response_body import LargeAnswerError

_SHOWN = 256
"""Maximum number of characters of a key in a message."""


def open_bucket(
    location: BucketLocation,
    *,
    credentials: Path | None = None,
    proxies: Proxies = DIRECT,
    clock: Clock = SYSTEM,
    timeout_s: float = TOTAL_TIMEOUT_S,
) -> S3Bucket:
    """Return a bucket; no request is sent yet.

    Args:
        location: Location of the bucket.
        credentials: Folder with those of the files `access_key`, `secret_key`, `session_token` and `ca.crt` that are
            needed, which are read at each request; None sends requests without a signature, as public buckets accept
            them.
        proxies: Proxies of the process.
        clock: Wall clock, for the time of signatures.
        timeout_s: Time limit for one request with its answer, seconds.
    """
    client = AwsClient(
        region=location.region,
        service=S3,
        credentials=credentials,
        proxies=proxies,
        clock=clock,
        timeout_s=timeout_s,
    )
    return S3Bucket(location, client, clock=clock)


class S3Bucket:
    """Implements `eaves.bucket.Bucket`.

    Args:
        location: Location of the bucket.
        client: Client that sends the requests.
        clock: Wall clock.
        page_keys: Maximum number of keys in a page of a listing.
    """

    def __init__(
        self, location: BucketLocation, client: AwsClient, *, clock: Clock = SYSTEM, page_keys: int = PAGE_KEYS
    ) -> None:
        self.location = location
        self._page_keys = page_keys
        self._client = client
        self._clock = clock

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with `prefix` and follow `after`, in the store's order."""
        page = self._read_page(prefix, {"start-after": after} if after else {}, self._page_keys)
        yield from page.objects
        while page.next_token:
            token = page.next_token
            page = self._read_page(prefix, {"continuation-token": token}, self._page_keys)
            yield from page.objects
            if page.next_token == token:
                raise self._malformed("a page refers to itself as the next one")

    def find(self, key: str) -> StoredObject:
        """Return the present version of an object, exactly as `list` yields it.

        The listing is asked for it and not the object itself: stores give the time with other digits there.
        """
        page = self._read_page(key, {}, 1)
        if not page.objects or page.objects[0].key != key:
            raise NotFoundError(f"the object {key[:_SHOWN]} does not exist in the {self.location.shown}")
        return page.objects[0]

    def inspect(self, found: StoredObject) -> StoredObject:
        """Return the object with its version id and digest, as far as the store knows them."""
        headers = {**_build_condition(found), "x-amz-checksum-mode": "ENABLED"}
        answer = self._request("HEAD", self.url(found), found.key, headers=headers)
        version_id = answer.headers.get("x-amz-version-id", "")
        return replace(found, version_id="" if version_id == "null" else version_id, digest=_read_digest(answer))

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        """Return the content of this version of an object."""
        if found.size_bytes > max_bytes:
            raise self._too_large(found.key, max_bytes)
        try:
            answer = self._request(
                "GET", self.url(found), found.key, headers=_build_condition(found), max_bytes=max_bytes
            )
        except LargeAnswerError as error:
            raise self._too_large(found.key, max_bytes) from error
        return answer.body

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        """Store an object durably and return its URL, as it stands in `dataref`."""
        url = self._build_url(key)
        self._request("PUT", url, key, headers={"Content-Type": content_type}, body=data)
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

    def _read_page(self, prefix: str, position: Mapping[str, str], count: int) -> ListingPage:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(count), "prefix": prefix, **position}
        url = f"{self.location.base_url}/?{urlencode(query, quote_via=quote, safe='-_.~')}"
        try:
            return parse_page(self._request("GET", url, "", max_bytes=PAGE_BYTES).body)
        except LargeAnswerError as error:
            raise self._malformed(f"a page has more than {PAGE_BYTES} bytes") from error
        except ValueError as error:
            raise self._malformed(str(error)) from error

    def _request(
        self, method: str, url: str, key: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"",
        max_bytes: int = 1 << 20,
    ) -> Answer:  # fmt: skip
        answer = self._client.send(method, url, headers=headers, body=body, max_bytes=max_bytes)
        if 200 <= answer.status < 300:
            return answer
        what = f"the object {key[:_SHOWN]}" if key else "the listing"
        raise explain_refusal(answer, self.location, what=what, now=self._clock.now())

    def _build_url(self, key: str) -> str:
        if not key or {".", ".."} & set(key.split("/")):  # HTTP clients resolve such parts of a path
            raise NotFoundError(f"the object {key[:_SHOWN]!r} has a key that can't be requested")
        return self.location.url(key)

    def _too_large(self, key: str, max_bytes: int) -> ImageTooLargeError:
        return ImageTooLargeError(f"the object {key[:_SHOWN]} has more than {max_bytes} bytes")

    def _malformed(self, why: str) -> StatusError:
        return StatusError(f"the listing of the {self.location.shown} can't be used: {why}", status=502)


def _build_condition(found: StoredObject) -> dict[str, str]:
    return {"If-Match": f'"{found.etag}"'} if found.etag else {}


def _read_digest(answer: Answer) -> str:
    """Return the SHA-256 that the store has of the whole content; empty when it has none.

    The checksum of an object that was uploaded in parts is one of the parts' checksums, and ends with their number.
    Source: Amazon S3 User Guide, Checking object integrity.
    """
    try:
        raw = base64.b64decode(answer.headers.get("x-amz-checksum-sha256", ""), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f"sha256:{raw.hex()}" if len(raw) == 32 else ""
