"""What the kernel tells of a watched folder: when a file that was noticed counts as complete."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.sources.folder.watcher import OPEN_S, KernelWatch
from tests.waiting import wait_until


@dataclass
class Noted:
    """What the watch has reported.

    Attributes:
        waits: Seconds by path after which a resting file counts as complete, in the order of the calls.
    """

    waits: dict[str, list[float]] = field(default_factory=dict)

    def notice(self, relative: str, wait_s: float) -> None:
        self.waits.setdefault(relative, []).append(wait_s)

    def check(self) -> None:
        return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inbox"
    made.mkdir()
    return made


@pytest.fixture
def noted(folder: Path) -> Iterator[Noted]:
    listener = Noted()
    watch = KernelWatch(folder, listener.notice, listener.check)
    yield listener
    watch.close()


def test_a_file_that_is_moved_in_from_another_folder_is_complete_at_once(folder: Path, noted: Noted, tmp_path: Path):
    """Uploaders write beside the folder and move: they count on a whole file being taken in a moment."""
    (tmp_path / "upload.png").write_bytes(b"x")
    (tmp_path / "upload.png").rename(folder / "image.png")
    wait_until(lambda: "image.png" in noted.waits, 20, what="the file")
    assert noted.waits == {"image.png": [0.0]}


def test_a_file_that_is_moved_within_the_folder_is_complete_at_once(folder: Path, noted: Noted):
    (folder / ".part").write_bytes(b"x")
    (folder / ".part").rename(folder / "image.png")
    wait_until(lambda: "image.png" in noted.waits, 20, what="the file")
    assert noted.waits["image.png"] == [0.0]


def test_a_file_that_is_moved_out_is_not_reported(folder: Path, noted: Noted, tmp_path: Path):
    (folder / "image.png").write_bytes(b"x")
    wait_until(lambda: 0.0 in noted.waits.get("image.png", []), 20, what="the file")
    noted.waits.clear()
    (folder / "image.png").rename(tmp_path / "elsewhere.png")
    (folder / "last.png").write_bytes(b"x")
    wait_until(lambda: 0.0 in noted.waits.get("last.png", []), 20, what="the file after it")
    assert set(noted.waits) == {"last.png"}


def test_files_of_a_folder_that_is_moved_in_are_reported(folder: Path, noted: Noted, tmp_path: Path):
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "image.png").write_bytes(b"x")
    (tmp_path / "batch").rename(folder / "batch")
    wait_until(lambda: "batch/image.png" in noted.waits, 20, what="the file")
    assert set(noted.waits["batch/image.png"]) <= {0.0, OPEN_S}
    (folder / "batch" / "later.png").write_bytes(b"x")
    wait_until(lambda: 0.0 in noted.waits.get("batch/later.png", []), 20, what="a file written there later")
