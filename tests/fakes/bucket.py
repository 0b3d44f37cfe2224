"""A bucket in memory, which counts what it is asked for."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator

from eaves.base.clock import SYSTEM, Clock
from eaves.bucket.bucket import StoredObject
from eaves.errors import ImageTooLargeError, NotFoundError


class DictBucket:
    """Implements `eaves.bucket.bucket.Bucket`.

    Attributes:
        data: Content by key.
        objects: Present version by key.
        requests: How often each kind of request was sent.
        fail: Raises what a request ends with; it gets the kind of request and the key or prefix.
        page_keys: Maximum number of objects that one request lists.
        aborted: Whether `abort` was called.
    """

    def __init__(self, clock: Clock = SYSTEM, page_keys: int = 1_000) -> None:
        self.page_keys = page_keys
        self.data: dict[str, bytes] = {}
        self.objects: dict[str, StoredObject] = {}
        self.requests: Counter[str] = Counter()
        self.fail: Callable[[str, str], None] = lambda kind, key: None
        self.aborted = False
        self._clock = clock

    def write(self, key: str, data: bytes = b"\xff\xd8\xff", *, modified_at_ns: int | None = None) -> StoredObject:
        """Store an object, as a camera does."""
        self.data[key] = data
        self.objects[key] = StoredObject(
            key=key,
            etag=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            size_bytes=len(data),
            modified_at_ns=round(self._clock.now() * 1e9) if modified_at_ns is None else modified_at_ns,
        )
        return self.objects[key]

    def delete(self, key: str) -> None:
        """Delete an object."""
        del self.data[key], self.objects[key]

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        while True:
            self._request("list", prefix)
            keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
            page = [self.objects[key] for key in keys[: self.page_keys]]
            yield from page
            if len(keys) <= self.page_keys:
                return
            after = page[-1].key

    def get(self, found: StoredObject, max_bytes: int) -> bytes:
        self._check("get", found)
        if found.size_bytes > max_bytes:
            raise ImageTooLargeError("it is too large")
        return self.data[found.key]

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        self._request("put", key)
        self.write(key, data)
        return f"https://store.example/photos/{key}"

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, kind: str, found: StoredObject) -> None:
        self._request(kind, found.key)
        now = self.objects.get(found.key)
        if now is None or now.etag != found.etag:
            raise NotFoundError(f"the object {found.key} was replaced")

    def _request(self, kind: str, key: str) -> None:
        self.requests[kind] += 1
        self.fail(kind, key)
