"""Files below a foreign directory: bounded, regular, and never from outside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eaves.console.catalog.run_files import find_below, foreign_content, read_below, read_json
from eaves.errors import ArtifactError, RunError


def test_a_file_below_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/a/b.txt").write_bytes(b"here")
    assert read_below(tmp_path / "root", "a/b.txt") == b"here"
    assert read_below(tmp_path / "root", "a/b.txt", max_bytes=3) is None
    assert read_below(tmp_path / "root", "a") is None
    assert read_below(tmp_path / "absent", "a/b.txt") is None


@pytest.mark.parametrize(
    "relative", ["../secret", "a/../../secret", "", ".", "/etc/hostname", "link", "linked/secret", "\0", "x" * 5000]
)
def test_a_path_that_leads_outside_gives_nothing(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    assert read_below(root, relative) is None


def test_a_link_within_the_directory_and_a_link_to_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/real").write_bytes(b"here")
    (tmp_path / "root/link").symlink_to("real")
    (tmp_path / "root/loop").symlink_to("loop")
    (tmp_path / "latest").symlink_to(tmp_path / "root")
    assert read_below(tmp_path / "latest", "link") == b"here"
    assert read_below(tmp_path / "root", "loop") is None


def test_a_pipe_and_a_device_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_below(tmp_path, "pipe") is None
    assert find_below(tmp_path, "pipe") is None
    assert read_below(Path("/dev"), "zero") is None


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[" * 100_000, '{"a": 1, "a": 2}'])
def test_what_is_no_json_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"a\.json"):
        read_json(tmp_path, "a.json")


def test_unexpected_content_becomes_an_error_and_errors_of_eaves_pass() -> None:
    with pytest.raises(ArtifactError, match="the run x can't be shown"), foreign_content("the run x"):
        json.loads("{}")["missing"]
    with pytest.raises(RunError, match="own"), foreign_content("the run x"):
        raise RunError("own")
