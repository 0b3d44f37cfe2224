"""A file as an event, whatever its name."""

import os
from pathlib import Path

import pytest

from eaves.events import decode, encode_binary, encode_structured
from eaves.sources.context import Frame
from eaves.sources.files import build_capture, capture_file, position

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (b"a b.png", "a b.png"),
        ("ü%20\u2028.png".encode(), "ü%20\ufffd.png"),
        (b"line\nbreak.png", "line\ufffdbreak.png"),
        (b"latin\xfc.png", "latin\ufffd.png"),
    ],
)
def test_every_file_name_makes_an_event_that_arrives(name: bytes, subject: str, tmp_path: Path):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(PNG)
    event = capture_file(path, site="s")
    for encode in (encode_binary, encode_structured):
        assert decode(*encode(event)) == event
    assert event.subject == subject


def test_a_json_file_is_an_event_of_numbers(tmp_path: Path):
    (tmp_path / "window.json").write_text("[[1, 2]]")
    event = capture_file(tmp_path / "window.json", site="s")
    assert (event.type, event.datacontenttype) == ("dev.eaves.tensor.captured.v1", "application/json")


def test_the_same_file_has_the_same_id_until_it_changes(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    os.utime(path, ns=(5, 5))
    first = capture_file(path, site="s")
    assert capture_file(path, site="s").id == first.id
    os.utime(path, ns=(6, 6))
    assert capture_file(path, site="s").id != first.id
    path.write_bytes(PNG + b"x")
    os.utime(path, ns=(5, 5))
    assert capture_file(path, site="s").id != first.id
    assert position("a", mtime_ns=1, size_bytes=2) != position("a", mtime_ns=12, size_bytes=0)


def test_a_time_that_is_none_is_left_out():
    frame = Frame(data=PNG, position="1", captured_at_ns=300_000_000_000 * 10**9)
    assert build_capture(frame, source="/s", camera="c").time is None
