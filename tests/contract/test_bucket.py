"""What every bucket does: the one that sources read over HTTP, and the one in memory that tests use."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.bucket.bucket import Bucket, StoredObject
from eaves.bucket.location import parse_location
from eaves.bucket.s3_bucket import S3Bucket
from eaves.errors import ImageTooLargeError, NotFoundError
from tests.fakes.bucket import DictBucket
from tests.sources.store import Store, open_store, write_keys

PAGE = 10
ODD = [
    "a b+c.jpg",
    "a%41.jpg",
    "a//b.jpg",
    "ü/ß.jpg",
    "h#ash?x=1&y.jpg",
    "tilde~!*'().jpg",
    "back\\slash.jpg",
    "ctl\x01.jpg",
    "end/",
]
"""Keys that clients of S3 fail with now and then."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with open_store() as opened:
        yield opened


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket."""
    if request.param == "memory":
        yield DictBucket(page_keys=PAGE)
        return
    store: Store = request.getfixturevalue("store")
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    store.s3.create_bucket(Bucket=name)
    location = parse_location(f"s3://{name}", endpoint=store.url)
    opened = S3Bucket(location, credentials=write_keys(tmp_path / "keys"), page_keys=PAGE)
    yield opened
    opened.close()


def put(bucket: Bucket, *keys: str) -> None:
    for key in keys:
        bucket.put(key, key.encode(), content_type="image/jpeg")


def find(bucket: Bucket, key: str) -> StoredObject:
    """The present version of an object."""
    return next(bucket.list(key))


def test_keys_are_listed_in_order_from_any_key_on(bucket: Bucket):
    put(bucket, "b/2.jpg", "a/1.jpg", "b/1.jpg", "c/1.jpg", "B/1.jpg")
    assert [found.key for found in bucket.list("")] == ["B/1.jpg", "a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg"]
    assert [found.key for found in bucket.list("b")] == ["b/1.jpg", "b/2.jpg"]
    assert [found.key for found in bucket.list("", after="b/1.jpg")] == ["b/2.jpg", "c/1.jpg"]
    assert [found.key for found in bucket.list("b/", after="b/11.jpg")] == ["b/2.jpg"]
    assert list(bucket.list("d")) == []


def test_every_key_can_be_listed_and_read(bucket: Bucket):
    put(bucket, *ODD)
    listed = list(bucket.list(""))
    assert [found.key for found in listed] == sorted(ODD)
    for found in listed:
        assert bucket.get(found, 1_000) == found.key.encode()


def test_a_listing_of_several_pages_is_complete_although_objects_are_put_meanwhile(bucket: Bucket):
    keys = [f"{number:05}.jpg" for number in range(45)]
    put(bucket, *keys)
    listed = bucket.list("")
    assert [next(listed).key for _ in range(25)] == keys[:25]
    put(bucket, "x.jpg", "00000a.jpg")
    assert [found.key for found in listed] == [*keys[25:], "x.jpg"]


def test_a_version_that_was_replaced_is_not_read(bucket: Bucket):
    put(bucket, "a.jpg")
    found = find(bucket, "a.jpg")
    bucket.put("a.jpg", b"other", content_type="image/jpeg")
    with pytest.raises(NotFoundError):
        bucket.get(found, 1_000)
    assert bucket.get(find(bucket, "a.jpg"), 1_000) == b"other"


def test_an_object_that_is_too_large_is_not_read(bucket: Bucket):
    put(bucket, "abcdef.jpg")
    with pytest.raises(ImageTooLargeError):
        bucket.get(find(bucket, "abcdef.jpg"), 9)
    assert bucket.get(find(bucket, "abcdef.jpg"), 10) == b"abcdef.jpg"


def test_a_put_returns_the_url_and_may_be_repeated(bucket: Bucket):
    first = bucket.put("a b.jpg", b"x", content_type="image/jpeg")
    assert first == bucket.put("a b.jpg", b"x", content_type="image/jpeg")
    assert len(list(bucket.list(""))) == 1
