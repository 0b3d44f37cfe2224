"""What a scan of a folder finds, and that a folder that changes meanwhile doesn't end it."""

import os
from pathlib import Path

import pytest

from eaves.errors import StorageError
from eaves.sources.folder.reader import FileVersion, scan


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def found(root: Path) -> dict[str, FileVersion]:
    def fail(folder: str, error: OSError) -> None:
        raise AssertionError((folder, error))

    return dict(scan(root, fail, lambda relative: None))


def test_a_scan_finds_regular_image_files_at_any_depth(tmp_path: Path):
    for name in ("a.png", "x/y/z/b.JPG", "x/notes.txt", ".hidden/c.png", "x/.d.png", "x/caf\udcff.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "up").symlink_to("x")
    os.mkfifo(tmp_path / "pipe.png")
    assert found(tmp_path) == {
        name: FileVersion.of((tmp_path / name).stat()) for name in ("a.png", "x/y/z/b.JPG", "x/caf\udcff.png")
    }


def test_a_folder_that_goes_meanwhile_is_reported(tmp_path: Path):
    root = tmp_path / "inbox"
    (root / "below").mkdir(parents=True)
    (root / "a.png").write_bytes(b"1")
    (root / "below" / "b.png").write_bytes(b"1")
    files = scan(root, lambda folder, error: None, lambda relative: None)
    next(files)
    root.rename(tmp_path / "gone")
    with pytest.raises(StorageError, match="inbox can't be opened"):
        list(files)


def test_a_scan_holds_neither_files_nor_folders_open(tmp_path: Path):
    for number in range(50):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "a.png").write_bytes(b"1")
    before = count_open_files()
    files = scan(tmp_path, lambda folder, error: None, lambda relative: None)
    for _ in range(25):
        next(files)
        assert count_open_files() <= before + 2
    files.close()  # type: ignore[attr-defined]
    assert count_open_files() == before
