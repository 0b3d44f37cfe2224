"""The password of a folder, and the files of the state directory: the key of signatures, and logouts."""

import json
import stat
from pathlib import Path

import pytest

from eaves.console.logins import (
    KEY_FILE,
    LOGOUTS_FILE,
    MAX_CHARACTERS,
    MAX_LOGOUTS,
    ConsolePassword,
    Logouts,
    load_signing_key,
)
from eaves.errors import ConfigError

PASSWORD = "three random words"
KEY = b"k" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path


def test_only_the_password_is_the_password(folder: Path):
    password = ConsolePassword(folder, KEY)
    assert password.matches(PASSWORD)
    wrong = (PASSWORD.upper(), PASSWORD[:-1], f"{PASSWORD}\n{PASSWORD}", "", "\udc80é", "x" * 1_000_000)
    assert [one for one in wrong if password.matches(one)] == []
    longest = "p" * MAX_CHARACTERS
    (folder / "password").write_text(longest)
    assert password.matches(longest)
    assert not password.matches(longest + "p")


@pytest.mark.parametrize("content", ["", "short", None])
def test_a_password_that_becomes_unusable_admits_nobody(
    folder: Path, content: str | None, caplog: pytest.LogCaptureFixture
):
    password = ConsolePassword(folder, KEY)
    version = password.version
    (folder / "password").unlink()
    if content is not None:
        (folder / "password").write_text(content)
    assert not any(password.matches(given) for given in (PASSWORD, "", "short"))
    assert password.version != version
    assert "nobody can log in" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("content", ["short", " " * 20])
def test_a_password_that_is_too_short_is_refused_at_the_start(folder: Path, content: str):
    (folder / "password").write_text(content)
    with pytest.raises(ConfigError, match="at least 12 characters"):
        ConsolePassword(folder, KEY)


def test_a_secret_that_kubernetes_replaces_by_a_link_is_read_again(tmp_path: Path):
    for name, text in (("first", PASSWORD), ("second", "another password")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(text)
    folder = tmp_path / "mounted"
    folder.symlink_to("first")
    password = ConsolePassword(folder, KEY)
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(folder)
    assert password.matches("another password")


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path):
    first = load_signing_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert load_signing_key(tmp_path) == first
    assert load_signing_key(None) != load_signing_key(None)
    (tmp_path / KEY_FILE).chmod(0o644)
    assert load_signing_key(tmp_path) != first, "others could read it"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_logouts_survive_the_process_and_forget_what_expired_anyway(tmp_path: Path):
    logouts = Logouts(tmp_path)
    logouts.add("old", until=150.0, now=100.0)
    assert "old" in Logouts(tmp_path)
    for number in range(MAX_LOGOUTS + 3):
        logouts._path = None  # without a write for each
        logouts.add(f"n{number}", until=200.0 + number, now=160.0)
    assert [name for name in ("old", "n0", "n2") if name in logouts] == []
    assert "n3" in logouts


def test_a_damaged_list_of_logouts_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / LOGOUTS_FILE).write_text('{"a": "x"}')
    logouts = Logouts(tmp_path)
    assert "earlier logouts are forgotten" in caplog.text
    logouts.add("a", until=200.0, now=100.0)
    assert json.loads((tmp_path / LOGOUTS_FILE).read_text()) == {"a": 200.0}


def test_a_logout_counts_without_a_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    logouts = Logouts(tmp_path / "missing")
    logouts.add("a", until=200.0, now=100.0)
    assert "a" in logouts
    assert "lasts until the console restarts" in caplog.text
