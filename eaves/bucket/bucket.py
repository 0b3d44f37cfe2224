"""Interface to one bucket of an object store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One version of an object in a bucket.

    Attributes:
        key: Key of the object.
        etag: ETag of the content, without quotation marks. Two versions with the same bytes may have the same one.
        size_bytes: Size of the object, bytes.
        modified_at_ns: Time at which the version was written, by the store's clock, nanoseconds since 1970.
    """

    key: str
    etag: str
    size_bytes: int
    modified_at_ns: int


class Bucket(Protocol):
    """One bucket. Any thread may use every member.

    Every method that sends a request raises `UnreachableError` when the store can't be reached, `NotFoundError` when
    the bucket or the object doesn't exist, `ConfigError` when the store doesn't accept the access key, the region or
    this machine's clock, `ForbiddenError` when it accepts the key and refuses the request, and `StatusError` for any
    other answer, all of `eaves.errors`. Each request ends within a time limit; `abort` ends it earlier.
    """

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with `prefix` and follow `after`, in the store's order of keys.

        That is the order of their UTF-8 bytes in Amazon S3 and most stores; some order each folder by itself. At most
        one page, a thousand objects, is in memory at the same time.
        """

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        """Return the content of this version of an object.

        Raises:
            NotFoundError: When this version was replaced or deleted.
            ImageTooLargeError: When it has more than `max_bytes`.
        """

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        """Store an object durably and return its URL without credentials, as it stands in `dataref`.

        Putting the same key and data again has no further effect.
        """

    def abort(self) -> None:
        """End the requests in progress, and all later ones, from any thread; they raise UnreachableError."""

    def close(self) -> None:
        """Close every connection."""
