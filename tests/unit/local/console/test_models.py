import os
from pathlib import Path

from eaves.local.console import MARKER, list_runs


def make(folder: Path, *, at: float = 1_000.0) -> Path:
    folder.mkdir(parents=True)
    marker = folder / MARKER
    marker.write_text("{}")
    os.utime(marker, (at, at))
    return folder


def test_the_finished_runs_of_the_project_are_found_newest_first(tmp_path: Path):
    assert list_runs(tmp_path / "runs") == {}
    older = make(tmp_path / "runs/flowers-1", at=2_000)
    newer = make(tmp_path / "runs/flowers-2", at=3_000)
    make(tmp_path / "runs/.flowers-3.unfinished")
    (tmp_path / "runs/notes").mkdir()
    (tmp_path / "runs/latest").symlink_to("flowers-1")
    assert list(list_runs(tmp_path / "runs").items()) == [("flowers-2", newer), ("flowers-1", older)]
