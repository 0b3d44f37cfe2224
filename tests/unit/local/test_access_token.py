"""The token of a port off loopback: made once, for its owner only, and read anew at each request."""

from __future__ import annotations

import stat
from pathlib import Path

import click
import pytest

from eaves.cli.commands.run.up import parse_listen
from eaves.errors import StorageError
from eaves.local.access_token import AccessToken


def test_a_token_is_made_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert AccessToken(path).is_in(f"Bearer {path.read_text().strip()}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    assert len(first.strip()) >= 40
    AccessToken(path)
    assert path.read_text() == first


def test_another_token_in_the_file_is_the_token_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token, first = AccessToken(path), path.read_text().strip()
    path.write_text("another\n")
    assert not token.is_in(f"Bearer {first}")
    assert token.is_in("bearer another")


@pytest.mark.parametrize("content", ["", "\n", None])
def test_without_a_token_nobody_is_let_in(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    token = AccessToken(path)
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert not any(token.is_in(given) for given in ("", "Bearer ", "Bearer", "Bearer x"))


def test_a_token_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be written"):
        AccessToken(tmp_path / "no folder" / "token")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("192.168.1.5:8481", ("192.168.1.5", 8481)), ("[::1]:80", ("::1", 80)), ("0.0.0.0:8481", ("0.0.0.0", 8481))],
)
def test_an_address_to_listen_at(text: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["8481", ":8481", "here:", "here:x", "here:0", "here:65536"])
def test_what_is_no_address_to_listen_at(text: str) -> None:
    with pytest.raises(click.BadParameter, match="ADDRESS:PORT"):
        parse_listen(text)
