"""The staging directory is used by one process at a time, and nothing is left of a killed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.staging import open_staging
from eaves.errors import ArtifactError


def test_two_empty_folders_beside_the_output_that_are_gone_afterwards(tmp_path: Path) -> None:
    with open_staging(tmp_path / "deep" / "artifact") as place:
        assert list(place.staging.iterdir()) == list(place.folder.iterdir()) == []
        (place.staging / "file").write_text("x")
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_a_killed_conversion_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".artifact.unfinished" / "artifact" / "weights"
    left.mkdir(parents=True)
    (left / "backbone.bin").write_bytes(bytes(100))
    with open_staging(tmp_path / "artifact") as place:
        assert list(place.staging.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_reported_and_disturbs_nothing(tmp_path: Path) -> None:
    with open_staging(tmp_path / "artifact") as place:
        with pytest.raises(ArtifactError, match="another process is writing"), open_staging(tmp_path / "artifact"):
            pass
        assert place.staging.is_dir()


def test_an_output_that_exists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    with pytest.raises(ArtifactError, match="already exists"), open_staging(tmp_path / "artifact"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]
