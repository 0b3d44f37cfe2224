"""`runs/latest` and `artifacts/latest`: links to what was finished last, and names that commands take."""

import os
from pathlib import Path

from eaves.cli.project import LATEST, newest, update_latest


def finish(folder: Path, name: str, *, at: int, marker: str = "run.json") -> Path:
    """A finished run or artifact, as far as names go."""
    made = folder / name
    made.mkdir(parents=True)
    (made / marker).touch()
    os.utime(made / marker, (at, at))
    return made


def test_neither_the_link_nor_an_unfinished_run_is_the_newest(tmp_path: Path):
    made = finish(tmp_path, "a", at=10)
    finish(tmp_path, ".b.unfinished", at=20)
    (tmp_path / "c").mkdir()
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).readlink() == Path("a")
    assert newest(tmp_path, "run.json") == made


def test_what_a_person_named_latest_is_left_alone(tmp_path: Path):
    finish(tmp_path, "a", at=10)
    (tmp_path / LATEST).mkdir()
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).is_dir()
    (tmp_path / LATEST).rmdir()
    blessed = finish(tmp_path / "elsewhere", "v1", at=5)
    (tmp_path / LATEST).symlink_to(blessed)
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).readlink() == blessed
