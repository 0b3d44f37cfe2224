"""The replay source: folders and archives, once and in a loop, at a pace, over restarts and damage."""

import io
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eaves.plugins.replay import ReplaySource, ReplaySourceSettings
from tests.fakes.clock import ManualClock
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs import hostile
from tests.inputs.settings import settings_from
from tests.waiting import wait_until

JPEG = hostile.good("JPEG")
NAMES = ["c/3.jpg", "a/1.jpg", "2.jpg"]
TIMES = [1_700_000_300, 1_700_000_100, 1_700_000_200]


def image(name: str) -> bytes:
    return JPEG + name.encode()


def write_folder(path: Path) -> Path:
    for name, at in zip(NAMES, TIMES, strict=True):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(image(name))
        os.utime(path / name, (at, at))
    (path / "notes.txt").write_text("no image")
    return path


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "no image")
        for name, at in zip(NAMES, TIMES, strict=True):
            archive.writestr(zipfile.ZipInfo(name, time.localtime(at)[:6]), image(name))
    return path


def write_tar(path: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, at in zip(NAMES, TIMES, strict=True):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(image(name)), at
            archive.addfile(member, io.BytesIO(image(name)))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "folder": write_folder,
    "photos.zip": write_zip,
    "photos.tar": lambda path: write_tar(path, "w"),
    "photos.tgz": write_tar,
}


@contextmanager
def playing(
    path: Path, context: RecordingContext | None = None, *, remembers: int = 1_000, **values: object
) -> Iterator[RecordingContext]:
    """Play a recording, the ids of which are remembered for so many images."""
    context = context or RecordingContext()
    settings = settings_from(ReplaySourceSettings, {"path": path, "every_s": 0, **values})
    thread = threading.Thread(target=ReplaySource(settings, context, max_images=remembers).run)
    thread.start()
    try:
        yield context
    finally:
        context.stop()
        thread.join(20)
        assert not thread.is_alive()


def wait_for_end(context: RecordingContext) -> None:
    wait_until(lambda: context.states and "were played" in context.states[-1][1], 20, what="the end")


@pytest.mark.parametrize("name", WRITERS)
def test_each_image_is_played_once_with_its_own_time(name: str, tmp_path: Path):
    path = WRITERS[name](tmp_path / name)
    with playing(path) as context:
        wait_for_end(context)
    found = {frame.subject: frame for frame in context.frames}
    assert list(found) == (["a/1.jpg", "2.jpg", "c/3.jpg"] if name == "folder" else NAMES)
    for one, at in zip(NAMES, TIMES, strict=True):
        assert found[one].data == image(one)
        assert abs((found[one].captured_at_ns or 0) / 1e9 - at) <= (2 if name.endswith(".zip") else 0)
        assert found[one].camera == ("" if one == "2.jpg" else one[0])
    assert context.dropped == {}
    assert [state for state, _ in context.states] == ["watching", "finished"]


def test_a_restart_continues_where_it_was(tmp_path: Path):
    first = RecordingContext()
    with playing(write_folder(tmp_path / "folder"), first):
        wait_for_end(first)
    second = RecordingContext()
    second.index.times = dict(list(first.index.times.items())[:2])
    with playing(tmp_path / "folder", second):
        wait_for_end(second)
    assert [frame.subject for frame in second.frames] == ["c/3.jpg"]
    assert second.dropped == {}


def test_a_loop_begins_again_with_other_ids_also_in_another_process(tmp_path: Path):
    path = write_zip(tmp_path / "photos.zip")
    positions: set[str] = set()
    for _ in range(2):
        with playing(path, RecordingContext(), loop=True) as context:
            wait_until(lambda context=context: len(context.frames) >= 7, 20)  # type: ignore[misc]
        played = context.frames
        assert [frame.subject for frame in played[:6]] == NAMES * 2
        assert not positions & {frame.position for frame in played}
        positions |= {frame.position for frame in played}
        assert len({frame.position for frame in played}) == len(played)


def test_the_pace_is_kept(tmp_path: Path):
    clock = ManualClock()
    with playing(write_folder(tmp_path / "folder"), RecordingContext(clock=clock), every_s=10) as context:
        wait_until(lambda: len(context.frames) == 1, 20)
        for count in (2, 3):
            wait_until(lambda: clock.waiting, 20)
            clock.turn(9.5)
            wait_until(lambda: clock.waiting, 20)
            assert len(context.frames) == count - 1
            clock.turn(0.6)
            wait_until(lambda count=count: len(context.frames) == count, 20)  # type: ignore[misc]


def test_a_time_of_now_is_when_it_is_played(tmp_path: Path):
    clock = ManualClock()
    with playing(write_folder(tmp_path / "folder"), RecordingContext(clock=clock), times="now") as context:
        wait_for_end(context)
    assert {frame.captured_at_ns for frame in context.frames} == {int(clock.now() * 1e9)}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
@pytest.mark.parametrize("name", ["photos.zip", "photos.tgz"])
def test_a_damaged_archive_is_said_and_waited_out(name: str, damage: Callable[[bytes], bytes], tmp_path: Path):
    path = WRITERS[name](tmp_path / name)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with playing(path) as context:
        wait_until(lambda: any("can't be read" in reason for _, reason in context.states), 20)
        path.write_bytes(good)
        wait_for_end(context)
    assert {frame.subject for frame in context.frames} == set(NAMES)


def test_an_image_of_an_archive_that_is_damaged_or_too_large_holds_up_no_other(tmp_path: Path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.jpg", b"broken in the archive")
        archive.writestr("2.jpg", bytes(3_000))
        archive.writestr("3.jpg", JPEG)
        archive.writestr("../4.jpg", JPEG)
    path.write_bytes(path.read_bytes().replace(b"broken", b"BROKEN"))
    context = RecordingContext()
    context.max_bytes = 2_900
    with playing(path, context):
        wait_for_end(context)
    assert [frame.subject for frame in context.frames] == ["3.jpg"]
    assert context.dropped == {"unreadable": 1, "too_large": 1}


def test_a_zip_that_says_less_than_it_holds_is_not_unpacked(tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(50_000_000))
    size = (50_000_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with playing(path) as context:
        wait_for_end(context)
    assert context.frames == []
    assert context.dropped == {"unreadable": 1}


def test_an_empty_loop_takes_no_processor(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    clock = ManualClock()
    with playing(tmp_path / "empty", RecordingContext(clock=clock), loop=True):
        wait_until(lambda: clock.waiting, 20)
        assert clock.next_due_s() == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "played"), [("photos.zip", 0), ("photos.tar", 2)])
def test_what_holds_more_than_is_remembered_is_not_played_once(name: str, played: int, tmp_path: Path):
    """A restart would play it again: the ids of its first images are forgotten by then."""
    path = WRITERS[name](tmp_path / name)
    with playing(path, remembers=3) as context:
        wait_for_end(context)
    with playing(path, remembers=2) as context:
        wait_until(lambda: context.states[-1:] and context.states[-1][0] == "waiting", 20)
        assert f"{path} contains more than 2 images" in context.states[-1][1]
        assert "split it" in context.states[-1][1]
    assert len(context.frames) == played
