"""Files that are written whole, and disks that are full."""

import errno
import os
from pathlib import Path

import pytest

from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, replacing, write_atomically
from eaves.errors import ConfigError, ConversionError, Fault, StoppedError, StorageError


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(TypeError), replacing(target) as stream:
        stream.writelines([b"new" * 100_000, None])  # type: ignore[list-item]
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("mode", "umask", "found"), [(0o600, 0o022, 0o600), (0o644, 0o077, 0o644), (None, 0o027, 0o640)]
)
def test_a_file_has_the_mode_that_was_asked_for_or_the_umasks(tmp_path: Path, mode: int | None, umask: int, found: int):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", "x", mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == found


def test_a_sole_writer_removes_what_a_killed_one_left(tmp_path: Path):
    (tmp_path / ".a.tmp").write_text("a longer text that a killed process left")
    write_atomically(tmp_path / "a", b"new", sole_writer=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_is_its_owners_and_those_above_it_are_as_usual(tmp_path: Path):
    make_directory(tmp_path / "a/b")
    make_directory(tmp_path / "a/b")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


pytestmark = pytest.mark.disk


def test_a_full_disk_is_named_with_what_is_left(tmp_path: Path):
    reported = rf"the disk that holds {tmp_path}/run is full: .* MB are left"
    with pytest.raises(StorageError, match=reported) as caught, disk_errors(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.exit_code == 74
    assert "free space" in (caught.value.hint or "")


def test_a_library_that_hides_the_cause_is_understood(tmp_path: Path):
    with pytest.raises(StorageError, match="is full"), disk_errors(tmp_path):
        raise RuntimeError("{{function_node SaveV2}} model/variables; No space left on device")
    with pytest.raises(StorageError, match="is full"), disk_errors(tmp_path):
        raise ConversionError("onnx can't be written") from OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_stay_as_they_are(tmp_path: Path):
    for error in (ValueError("broken"), ConversionError("refused"), StoppedError("stopped"), ConnectionError("lost")):
        with pytest.raises(type(error)) as caught, disk_errors(tmp_path):
            raise error
        assert caught.value is error
    ours = ConfigError([Fault(origin="a", path="b", message="No space left on device")])
    with pytest.raises(ConfigError), disk_errors(tmp_path):
        raise ours
