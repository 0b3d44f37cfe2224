"""Pages of listings as stores send them, and as they never should."""

from __future__ import annotations

import pytest

from eaves.bucket.listing import parse_page

OBJECT = (
    "<Contents><Key>{key}</Key><LastModified>{at}</LastModified>"
    "<ETag>&quot;abc&quot;</ETag><Size>{size}</Size></Contents>"
)
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(*parts: str, namespace: str = NAMESPACE, head: str = "") -> bytes:
    return f'<?xml version="1.0"?>{head}<ListBucketResult{namespace}>{"".join(parts)}</ListBucketResult>'.encode()


def entry(key: str = "a.jpg", at: str = "2026-11-26T23:16:09.123Z", size: str = "3") -> str:
    return OBJECT.format(key=key, at=at, size=size)


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_objects_are_read_with_and_without_a_namespace(namespace: str) -> None:
    read = parse_page(page("<IsTruncated>false</IsTruncated>", entry(), namespace=namespace))
    found = read.objects[0]
    assert (found.key, found.etag, found.size_bytes) == ("a.jpg", "abc", 3)
    assert found.modified_at_ns == 1_795_734_969_123_000_000
    assert read.next_token == ""


@pytest.mark.parametrize(
    ("encoding", "text", "key"),
    [
        ("<EncodingType>url</EncodingType>", "a%2Fb+c%2B%01.jpg", "a/b c+\x01.jpg"),
        ("<EncodingType>url</EncodingType>", "%C3%BC%20x.jpg", "ü x.jpg"),
        ("", "a%2Fb+c.jpg", "a%2Fb+c.jpg"),
    ],
)
def test_keys_are_decoded_only_if_the_store_says_that_it_encoded_them(encoding: str, text: str, key: str) -> None:
    assert parse_page(page(encoding, entry(text))).objects[0].key == key


def test_the_next_page_is_named_by_a_token() -> None:
    more = "<IsTruncated>true</IsTruncated>"
    assert parse_page(page(more, "<NextContinuationToken>t=</NextContinuationToken>", entry())).next_token == "t="
    with pytest.raises(ValueError, match="names no next page"):
        parse_page(page(more, entry()))


BOMB = '<!DOCTYPE a [<!ENTITY b "cccc">]>'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not XML"),
        (b"<html>", "not XML"),
        (b"<html></html>", "not a ListBucketResult"),
        (page(head=BOMB), "document type"),
        (page(entry(), head=BOMB).decode().encode("utf-16"), "not XML"),
        (page(entry(size="many")), "without a valid size or time"),
        (page(entry(at="yesterday")), "without a valid size or time"),
        (page(entry(), head=BOMB).decode().encode("utf-16-le"), "not XML"),
        (page("<Contents><Key>a</Key></Contents>"), "without a valid size or time"),
    ],
)
def test_anything_else_is_refused_without_its_text(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_page(body)
    assert "yesterday" not in str(caught.value)
