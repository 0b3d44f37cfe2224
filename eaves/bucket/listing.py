"""Parsing of one page of a bucket's listing (ListObjectsV2)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from eaves.bucket.bucket import StoredObject
from eaves.bucket.strict_xml import parse_xml

PAGE_KEYS = 1_000
"""Number of keys in one page, which is the maximum. Source: Amazon S3 API Reference, ListObjectsV2, MaxKeys."""
PAGE_BYTES = 8 << 20
"""Maximum size of a page in bytes: a thousand keys of 1,024 bytes, percent-encoded, and what is around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        objects: Objects of the page, in the store's order.
        next_token: Token with which the next page is requested; empty for the last page.
    """

    objects: list[StoredObject]
    next_token: str


def parse_page(body: bytes) -> ListingPage:
    """Parse a page of a listing.

    Raises:
        ValueError: When it isn't a listing. The message contains no text of the store.
    """
    root = parse_xml(body)
    space, _, name = root.tag.rpartition("}")
    space = f"{space}}}" if space else ""
    if name != "ListBucketResult":
        raise ValueError("it is not a ListBucketResult")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    objects = [_parse_object(entry, space, encoded=encoded) for entry in root.iterfind(f"{space}Contents")]
    if root.findtext(f"{space}IsTruncated", "").strip() != "true":
        return ListingPage(objects=objects, next_token="")
    token = root.findtext(f"{space}NextContinuationToken", "")
    if not token:
        raise ValueError("it names no next page and is incomplete")
    return ListingPage(objects=objects, next_token=token)


def _parse_object(entry: ET.Element, space: str, *, encoded: bool) -> StoredObject:
    values = {child.tag.removeprefix(space): child.text or "" for child in entry}
    key = values.get("Key", "")
    try:
        return StoredObject(
            key=unquote_plus(key) if encoded else key,
            etag=values.get("ETag", "").strip('"'),
            size_bytes=int(values["Size"]),
            modified_at_ns=_parse_moment(values["LastModified"]),
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise ValueError("it contains an object without a valid size or time") from error


def _parse_moment(text: str) -> int:
    """Return a time as nanoseconds since 1970, exactly as the store gives it, in milliseconds at most."""
    moment = datetime.fromisoformat(text.strip())
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000) * 1_000_000
