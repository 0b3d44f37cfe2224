"""What tells one snapshot from another, when it was captured, and where it ends."""

from email.utils import formatdate

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.sources.http.client import Snapshot, has_end
from eaves.sources.http.kind import HttpSourceSettings
from eaves.sources.http.source import SnapshotIdentity
from tests.inputs import hostile

NOW = 1_764_000_000.0


def snapshot(data: bytes, url: str = "http://cam/snap.jpg", **headers: str) -> Snapshot:
    return Snapshot(data=data, headers={name.replace("_", "-"): value for name, value in headers.items()}, url=url)


def date(at: float) -> str:
    return formatdate(at, usegmt=True)


def positions(*snapshots: Snapshot) -> list[str | None]:
    identity = SnapshotIdentity()
    found = [identity.identify(one, NOW + number) for number, one in enumerate(snapshots)]
    return [one and one[0] for one in found]


def test_an_etag_that_never_changes_hides_no_picture():
    first, second = positions(snapshot(b"1", etag='"0"'), snapshot(b"2", etag='"0"'))
    assert first != second


def test_a_picture_that_comes_back_is_another_one_when_its_validator_is():
    day, night = snapshot(b"same", last_modified=date(NOW)), snapshot(b"same", last_modified=date(NOW + 60))
    assert len(set(positions(day, night))) == 2


def captured(*snapshots: Snapshot) -> list[float]:
    identity = SnapshotIdentity()
    found = [identity.identify(one, NOW + number) for number, one in enumerate(snapshots)]
    return [one[1] / 1e9 for one in found if one]


def test_a_last_modified_that_stands_still_ahead_or_makes_no_sense_is_no_capture_time():
    assert captured(snapshot(b"1", last_modified=date(1)), snapshot(b"2", last_modified=date(1)))[1] == NOW + 1
    assert captured(snapshot(b"1", last_modified=date(NOW + 3_600))) == [NOW]
    assert captured(snapshot(b"1", last_modified="yesterday")) == [NOW]
    assert captured(snapshot(b"1", last_modified="Fri, 31 Dec 9999 23:59:59 -9999")) == [NOW]


def settings(url: str) -> HttpSourceSettings:
    return build(HttpSourceSettings, SettingsLayer(origin="eaves.yaml", values={"url": url}))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cam/snap.jpg",
        "http://",
        "http://cam:99999/",
        "http://cam/a b",
        "http://c\r\nX: y/",
    ],
)
def test_a_url_that_is_none_is_a_fault_that_does_not_show_it(url: str):
    with pytest.raises(ConfigError, match=r"eaves.yaml: url: must be an http") as caught:
        settings(url)
    assert "99999" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_half_an_image_has_no_end(kind: str):
    data = hostile.encode(hostile.noise(300, 200), kind)
    assert has_end(data)
    assert has_end(data + bytes(2_000))
    if kind != "GIF":  # whose end mark may be anywhere in its data
        assert not has_end(data[: len(data) // 2])
