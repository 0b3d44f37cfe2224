"""Files are read without following links, without waiting, and only if they are what was looked at."""

import os
import threading
from pathlib import Path

import pytest

from eaves.errors import StorageError
from eaves.sources.folder.reader import FileVersion, find_version, identify, read_file
from tests.waiting import wait_until

DATA = b"0123456789"


def version_of(path: Path) -> FileVersion:
    return FileVersion.of(path.stat())


@pytest.mark.parametrize("other", [FileVersion(0, 10), FileVersion(5, 9), FileVersion(5, 11)])
def test_another_version_is_not_read(tmp_path: Path, other: FileVersion):
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    os.utime(path, ns=(5, 5))
    assert read_file(tmp_path, "a.png", FileVersion(5, 10)) == DATA
    assert read_file(tmp_path, "a.png", other) is None


def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path):
    path = tmp_path / "large.png"
    path.touch()
    os.truncate(path, 256 << 20)
    version = version_of(path)
    thread = threading.Thread(target=_change_once_being_read, args=(path,))
    thread.start()
    try:
        assert read_file(tmp_path, "large.png", version) is None
    finally:
        thread.join()
    assert version_of(path) != version


def _change_once_being_read(path: Path) -> None:
    """Set another modification time as soon as somebody in this process has read a part of the file."""

    def position() -> int:
        for fd in Path("/proc/self/fd").iterdir():
            try:
                if fd.readlink() == path:
                    return int(Path(f"/proc/self/fdinfo/{fd.name}").read_text().split()[1])
            except OSError:
                continue
        return 0

    wait_until(position, 20, pause_s=0, what="a reader")
    os.utime(path, ns=(1, 1))


def test_a_link_is_neither_found_nor_read(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.png").symlink_to(secret)
    assert find_version(tmp_path / "inbox", "a.png") is None
    with pytest.raises(OSError, match="symbolic links"):
        read_file(tmp_path / "inbox", "a.png", version_of(secret))


def test_a_folder_that_became_a_link_is_not_entered(tmp_path: Path):
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "a.png"
    secret.write_bytes(DATA)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "camera").symlink_to(tmp_path / "secrets")
    assert find_version(tmp_path / "inbox", "camera/a.png") is None
    with pytest.raises(OSError, match="Not a directory"):
        read_file(tmp_path / "inbox", "camera/a.png", version_of(secret))


def test_a_folder_that_is_gone_is_distinguished_from_a_file_that_is(tmp_path: Path):
    gone = tmp_path / "gone"
    for look in (
        lambda: find_version(gone, "a.png"),
        lambda: read_file(gone, "a.png", FileVersion(1, 1)),
        lambda: identify(gone),
    ):
        with pytest.raises(StorageError, match=r"gone can't be opened: No such file or directory"):
            look()
