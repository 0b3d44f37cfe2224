"""Temporary files of tests marked `disk` are on a disk."""

from pathlib import Path

import pytest

from tests.disks import MEMORY


@pytest.mark.disk
def test_a_test_of_what_a_disk_holds_has_its_files_on_one(tmp_path: Path):
    assert MEMORY not in tmp_path.parents
    assert list(tmp_path.iterdir()) == []
