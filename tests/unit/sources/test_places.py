"""Addresses and paths on the command line become the settings of a source."""

from pathlib import Path
from typing import Any

import pytest

from eaves.sources.kind import load_kind, parse_place


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("rtsp://cam/1", {"kind": "camera", "url": "rtsp://cam/1"}),
        ("RTSPS://u:p@cam/1", {"kind": "camera", "url": "RTSPS://u:p@cam/1"}),
        ("https://cam/a.m3u8?token=1", {"kind": "camera", "url": "https://cam/a.m3u8?token=1"}),
        ("http://cam/video.MJPG", {"kind": "camera", "url": "http://cam/video.MJPG"}),
        ("http://cam/snap.jpg", {"kind": "http", "url": "http://cam/snap.jpg"}),
        ("http://[cam/snap.jpg", {"kind": "http", "url": "http://[cam/snap.jpg"}),
        ("mqtt://u:p@broker:1884/a/+/b%20c", {"kind": "mqtt", "url": "mqtt://u:p@broker:1884", "topics": ["a/+/b c"]}),
        ("s3://bucket/prefix", {"kind": "s3", "bucket": "s3://bucket/prefix"}),
        ("/dev/video99", {"kind": "camera", "url": "/dev/video99"}),
        ("ftp://host/file", None),
        ("gate", None),
        ("{kind: http, url: 'http://cam/'}", None),
    ],
)
def test_an_address(text: str, settings: dict[str, Any] | None):
    assert parse_place(text) == settings


@pytest.mark.parametrize(
    ("name", "kind"), [("day.zip", "replay"), ("day.tar.gz", "replay"), ("film.MP4", "camera"), ("note.txt", None)]
)
def test_a_file(name: str, kind: str | None, tmp_path: Path):
    (tmp_path / name).touch()
    assert (parse_place(str(tmp_path / name)) or {}).get("kind") == kind


def test_a_folder_has_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("inbox").mkdir()
    assert parse_place("inbox") == {"kind": "folder", "path": str(tmp_path / "inbox")}


@pytest.mark.parametrize("topics", ["$share/eaves/a/b,c/#", ["$share/eaves/a/b", "c/#"]])
def test_a_guest_takes_no_message_from_others(topics: Any):
    guest = load_kind("mqtt").guest({"kind": "mqtt", "name": "gate", "topics": topics}, "eaves-try-hall-gate-1")
    assert guest["topics"] == ["a/b", "c/#"]
    assert guest["client_id"] == "eaves-try-hall-gate-1"
    assert load_kind("folder").guest({"kind": "folder"}, "eaves-try-hall-gate-1") == {}
