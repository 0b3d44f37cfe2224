"""The password and the token of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.console.security.credentials import MAX_CHARACTERS, ConsoleCredentials
from eaves.errors import ConfigError

PASSWORD = "three random words"
TOKEN = "c2l4dGVlbiBieXRlcyE="


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "is_right"),
    [
        (PASSWORD, True),
        (PASSWORD.upper(), False),
        (PASSWORD[:-1], False),
        (f"{PASSWORD}\n{PASSWORD}", False),
        ("", False),
        ("\udc80é", False),
        ("x" * 1_000_000, False),
    ],
)
def test_only_the_password_is_the_password(folder: Path, given: str, is_right: bool) -> None:
    assert ConsoleCredentials(folder).has_password(given) is is_right


def test_a_longer_text_that_begins_with_the_password_is_wrong(folder: Path) -> None:
    longest = "p" * MAX_CHARACTERS
    (folder / "password").write_text(longest)
    assert ConsoleCredentials(folder).has_password(longest)
    assert not ConsoleCredentials(folder).has_password(longest + "p")


def test_a_changed_password_applies_at_once_and_changes_the_version(folder: Path) -> None:
    credentials = ConsoleCredentials(folder)
    version = credentials.version()
    (folder / "password").write_text("another password\n")
    assert not credentials.has_password(PASSWORD)
    assert credentials.has_password("another password")
    assert credentials.version() != version


@pytest.mark.parametrize("content", ["", "short", None])
def test_a_password_that_becomes_unusable_admits_nobody(
    folder: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = ConsoleCredentials(folder)
    version = credentials.version()
    (folder / "password").unlink()
    if content is not None:
        (folder / "password").write_text(content)
    assert not any(credentials.has_password(given) for given in (PASSWORD, "", "short"))
    assert not credentials.has_token("Bearer ")
    assert credentials.version() != version
    assert "nobody can log in" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("content", ["", "short", " " * 20, "x" * (MAX_CHARACTERS + 1)])
def test_a_password_that_is_too_short_is_refused_at_the_start(folder: Path, content: str) -> None:
    (folder / "password").write_text(content)
    with pytest.raises(ConfigError, match="at least 12 characters"):
        ConsoleCredentials(folder)


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer ", False),
        (f"Bearer {PASSWORD}", False),
    ],
)
def test_programs_send_the_token(folder: Path, header: str, is_right: bool) -> None:
    (folder / "token").write_text(TOKEN)
    assert ConsoleCredentials(folder).has_token(header) is is_right


def test_without_a_token_no_program_is_admitted(folder: Path) -> None:
    credentials = ConsoleCredentials(folder)
    assert not any(credentials.has_token(given) for given in ("", "Bearer", "Bearer ", f"Bearer {PASSWORD}"))


def test_a_short_token_is_refused(folder: Path) -> None:
    (folder / "token").write_text("short")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        ConsoleCredentials(folder)


def test_a_secret_that_kubernetes_replaces_by_a_link_is_read_again(tmp_path: Path) -> None:
    for name, password in (("first", PASSWORD), ("second", "another password")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(password)
    folder = tmp_path / "mounted"
    folder.symlink_to("first")
    credentials = ConsoleCredentials(folder)
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(folder)
    assert credentials.has_password("another password")
