"""A bucket in memory, whose requests fail while a test says so."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

from eaves.bucket.bucket import StoredObject
from eaves.errors import EavesError, ImageTooLargeError, NotFoundError


class MemoryBucket:
    """Implements `eaves.bucket.bucket.Bucket`.

    Attributes:
        objects: Content and media type of each object, by key.
        error: Error that each request raises while it is set.
        puts: Keys of all requests to store an object, failed ones too.
        gate: Event that each request to store an object waits for.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.error: EavesError | None = None
        self.puts: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects in the order of their keys."""
        yield from (self.find(key) for key in sorted(self.objects) if key.startswith(prefix) and key > after)

    def find(self, key: str) -> StoredObject:
        """Return an object."""
        if key not in self.objects:
            raise NotFoundError(f"the object {key} does not exist")
        data = self.objects[key][0]
        etag = hashlib.md5(data).hexdigest()
        return StoredObject(key=key, etag=etag, size_bytes=len(data), modified_at_ns=0)

    def inspect(self, found: StoredObject) -> StoredObject:
        """Return the object; it has neither version id nor digest."""
        return found

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        """Return the content of an object."""
        if found.size_bytes > max_bytes:
            raise ImageTooLargeError(f"the object {found.key} has more than {max_bytes} bytes")
        return self.objects[self.find(found.key).key][0]

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        """Store an object."""
        self.puts.append(key)
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.objects[key] = (data, content_type)
        return f"https://store.example/photos/{key}"

    def url(self, found: StoredObject) -> str:
        """Return the URL of an object."""
        return f"https://store.example/photos/{found.key}"

    def abort(self) -> None:
        """End the requests in progress."""
        self.gate.set()

    def close(self) -> None:
        """Close every connection."""
