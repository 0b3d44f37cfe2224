"""What tells one snapshot from another, and when it was captured."""

from __future__ import annotations

from email.utils import formatdate

from eaves.sources.http.client import Snapshot
from eaves.sources.http.source import SnapshotIdentity

NOW = 1_764_000_000.0


def snapshot(data: bytes, url: str = "http://cam/snap.jpg", **headers: str) -> Snapshot:
    return Snapshot(data=data, headers={name.replace("_", "-"): value for name, value in headers.items()}, url=url)


def date(at: float) -> str:
    return formatdate(at, usegmt=True)


def positions(*snapshots: Snapshot) -> list[str | None]:
    identity = SnapshotIdentity()
    found = [identity.identify(one, NOW + number) for number, one in enumerate(snapshots)]
    return [one and one[0] for one in found]


def test_an_etag_that_never_changes_hides_no_picture() -> None:
    first, second = positions(snapshot(b"1", etag='"0"'), snapshot(b"2", etag='"0"'))
    assert first != second


def test_a_picture_that_comes_back_is_another_one_when_its_validator_is() -> None:
    day, night = snapshot(b"same", last_modified=date(NOW)), snapshot(b"same", last_modified=date(NOW + 60))
    assert len(set(positions(day, night))) == 2


def captured(*snapshots: Snapshot) -> list[float]:
    identity = SnapshotIdentity()
    found = [identity.identify(one, NOW + number) for number, one in enumerate(snapshots)]
    return [one[1] / 1e9 for one in found if one]


def test_a_last_modified_that_stands_still_ahead_or_makes_no_sense_is_no_capture_time() -> None:
    assert captured(snapshot(b"1", last_modified=date(1)), snapshot(b"2", last_modified=date(1)))[1] == NOW + 1
    assert captured(snapshot(b"1", last_modified=date(NOW + 3_600))) == [NOW]
    assert captured(snapshot(b"1", last_modified="yesterday")) == [NOW]
    assert captured(snapshot(b"1", last_modified="Fri, 31 Dec 9999 23:59:59 -9999")) == [NOW]
