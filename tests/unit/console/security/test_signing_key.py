"""The key in the state directory."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from eaves.console.security.signing_key import FILE, load_signing_key
from eaves.errors import StorageError


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    first = load_signing_key(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert load_signing_key(tmp_path).derive("form") == first.derive("form")


def test_keys_of_different_purposes_and_values_differ(tmp_path: Path) -> None:
    key = load_signing_key(tmp_path)
    made = [key.derive("form"), key.derive("session"), key.derive("form", b""), key.derive("f", b"orm"),
            key.derive("form", b"ab", b"c"), key.derive("form", b"a", b"bc")]  # fmt: skip
    assert len(set(made)) == len(made)


def test_without_a_state_directory_every_process_has_its_own_key() -> None:
    assert load_signing_key(None).derive("form") != load_signing_key(None).derive("form")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    load_signing_key(tmp_path)
    assert len((tmp_path / FILE).read_bytes()) == 32


def test_a_key_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    first = load_signing_key(tmp_path).derive("form")
    (tmp_path / FILE).chmod(0o644)
    assert load_signing_key(tmp_path).derive("form") != first
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 32)
    other.chmod(0o600)
    (tmp_path / FILE).symlink_to(other)
    with pytest.raises(StorageError, match="can't be read or created"):
        load_signing_key(tmp_path)


def test_a_missing_state_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be read or created"):
        load_signing_key(tmp_path / "missing")
