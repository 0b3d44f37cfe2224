"""The token of a port off loopback: made once, for its owner only, and read anew at each request."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.errors import ConfigError
from eaves.local.server import AccessToken


def test_a_token_is_made_for_its_owner_only_and_kept(tmp_path: Path):
    path = tmp_path / "token"
    assert AccessToken(path).is_in(f"Bearer {path.read_text().strip()}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    assert len(first.strip()) >= 40
    AccessToken(path)
    assert path.read_text() == first


def test_another_token_in_the_file_is_the_token_at_once(tmp_path: Path):
    path = tmp_path / "token"
    token, first = AccessToken(path), path.read_text().strip()
    path.write_text("another\n")
    assert not token.is_in(f"Bearer {first}")
    assert token.is_in("bearer another")


@pytest.mark.parametrize("content", ["", "\n", None])
def test_without_a_token_nobody_is_let_in(tmp_path: Path, content: str | None):
    path = tmp_path / "token"
    token = AccessToken(path)
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert not any(token.is_in(given) for given in ("", "Bearer ", "Bearer", "Bearer x"))


def test_a_token_that_other_users_can_read_or_change_is_refused(tmp_path: Path):
    path = tmp_path / "token"
    AccessToken(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640, must be 0600") as found:
        AccessToken(path)
    assert found.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", ["", "short", "two words that are long enough"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(ConfigError, match="holds no token") as found:
        AccessToken(path)
    assert str(found.value.hint).startswith(f"rm {path}")
    assert path.read_text() == content


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "token")
    with pytest.raises(ConfigError, match="is not a regular file"):
        AccessToken(tmp_path / "token")
