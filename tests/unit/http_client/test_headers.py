"""What headers ask for: to be left alone, and to go elsewhere."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from eaves.http_client.headers import find_redirect, parse_retry_after

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Mon, 01 Jan 2024 00:00:00 +999999999999", None),
        ("٣", None),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None):
    date = format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True)
    assert parse_retry_after({"date": date} | ({} if text is None else {"retry-after": text})) == expected


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other.jpg", "http://cam/other.jpg"),
        ("now.jpg?x=1#top", "http://cam/path/now.jpg?x=1"),
        ("https://cam/x", "https://cam/x"),
        ("http://user:password@cam/x", "http://cam/x"),
    ],
)
def test_a_redirect_within_the_host_is_followed(location: str, target: str):
    assert find_redirect("http://cam/path/snap.jpg", location) == target


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("http://cam/", "http://evil.example/"),
        ("http://cam/", "http://cam:8080/"),
        ("http://cam/", "file:///etc/passwd"),
        ("http://cam/", "http://[bad/"),
        ("https://cam/", "http://cam/"),
    ],
)
def test_a_redirect_to_elsewhere_is_not(url: str, location: str):
    with pytest.raises(ValueError, match="redirects "):
        find_redirect(url, location)
