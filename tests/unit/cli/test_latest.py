"""`runs/latest` and `artifacts/latest`: links to what was finished last, and names that commands take."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from eaves.cli.latest import LATEST, ModelPath, find_latest, newest, refuse_latest, update_latest
from eaves.errors import ConfigError


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder of runs; elsewhere `latest` is no name of ours."""
    made = tmp_path / "runs"
    made.mkdir()
    return made


def finish(folder: Path, name: str, *, at: int, marker: str = "run.json") -> Path:
    """A finished run or artifact, as far as names go."""
    made = folder / name
    made.mkdir(parents=True)
    (made / marker).touch()
    os.utime(made / marker, (at, at))
    return made


def test_the_link_points_to_what_was_finished_last(tmp_path: Path) -> None:
    finish(tmp_path, "b", at=10)
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).readlink() == Path("b"), "relative, so that the project can be moved"
    finish(tmp_path, "a", at=20)
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).readlink() == Path("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", LATEST]


def test_neither_the_link_nor_an_unfinished_run_is_the_newest(tmp_path: Path) -> None:
    made = finish(tmp_path, "a", at=10)
    finish(tmp_path, ".b.unfinished", at=20)
    (tmp_path / "c").mkdir()
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST).readlink() == Path("a")
    assert newest(tmp_path, "run.json") == made


def test_without_anything_finished_there_is_no_link(tmp_path: Path) -> None:
    update_latest(tmp_path, "run.json")
    update_latest(tmp_path / "nowhere", "run.json")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_before_the_link_was_made_is_mended_by_the_next_command(tmp_path: Path) -> None:
    finish(tmp_path, "a", at=10)
    update_latest(tmp_path, "run.json")
    made = finish(tmp_path, "b", at=20)  # and its process was killed before it could link
    assert find_latest(tmp_path / LATEST) == made
    assert (tmp_path / LATEST).readlink() == Path("b")


def test_a_folder_that_a_person_named_latest_is_left_alone(tmp_path: Path) -> None:
    finish(tmp_path, "a", at=10)
    (tmp_path / LATEST).mkdir()
    (tmp_path / LATEST / "mine").touch()
    update_latest(tmp_path, "run.json")
    assert (tmp_path / LATEST / "mine").exists()
    assert find_latest(tmp_path / LATEST) == tmp_path / LATEST


def test_where_no_link_can_be_made_commands_take_the_name_all_the_same(tmp_path: Path) -> None:
    finish(tmp_path, "a", at=10)
    update_latest(tmp_path, "run.json")
    made = finish(tmp_path, "b", at=20)
    tmp_path.chmod(0o500)
    try:
        assert find_latest(tmp_path / LATEST) == made
    finally:
        tmp_path.chmod(0o700)


def test_a_link_that_a_person_made_is_taken_as_it_is(tmp_path: Path) -> None:
    blessed = finish(tmp_path / "models", "v1", at=10)
    finish(tmp_path / "models", "v2", at=20)
    for target in (blessed, Path("v1")):
        (tmp_path / "models" / LATEST).unlink(missing_ok=True)
        (tmp_path / "models" / LATEST).symlink_to(target)
        assert find_latest(tmp_path / "models" / LATEST).resolve() == blessed
    finish(tmp_path / "runs", "newer", at=30)
    (tmp_path / "runs" / LATEST).symlink_to(blessed)
    assert find_latest(tmp_path / "runs" / LATEST).resolve() == blessed
    update_latest(tmp_path / "runs", "run.json")
    assert (tmp_path / "runs" / LATEST).readlink() == blessed


def test_a_command_gets_the_directory_itself(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    made = finish(folder, "a", at=10)

    @click.command()
    @click.argument("path", type=ModelPath())
    def command(path: Path) -> None:
        click.echo(path)

    for given, expected in (
        (folder / LATEST, made),
        (made, made),
        (tmp_path / "x" / LATEST, tmp_path / "x" / LATEST),
    ):
        assert CliRunner().invoke(command, [str(given)]).output == f"{expected}\n"


def test_nothing_new_is_named_latest(tmp_path: Path) -> None:
    refuse_latest(tmp_path / "a", "--run")
    with pytest.raises(ConfigError, match="--run: latest is reserved for the link to the newest directory"):
        refuse_latest(tmp_path / LATEST, "--run")
