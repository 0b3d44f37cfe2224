"""Installing also starts the service where systemd runs; here a program in PATH takes the place of systemctl."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import PlatformError
from eaves.local.service import SystemdService, install, uninstall

SCRIPT = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in *{failing}*) echo "Failed: no such thing" >&2; exit 5;; esac
"""
TEXT = "# Written by `eaves up --install-service`; `eaves up --uninstall-service` removes it.\nWorkingDirectory=/srv\n"


def build_service(folder: Path, *, user: bool) -> SystemdService:
    return SystemdService(name="eaves-flowers", project=Path("/srv"), is_system=not user, units=folder / "units")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def place(folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch, *, failing: str = "nothing") -> None:
    """Make programs that write down how they were called."""
    (folder / "bin").mkdir()
    for name in ("systemctl", "loginctl"):
        path = folder / "bin" / name
        path.write_text(SCRIPT.format(log=log, failing=failing))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


@pytest.mark.parametrize("user", [True, False], ids=["user", "system"])
def test_the_service_is_started_now_and_at_boot(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, user: bool
) -> None:
    place(tmp_path, log, monkeypatch)
    said: list[str] = []
    service = build_service(tmp_path, user=user)
    install(service, TEXT, booted=True, report=said.append)
    scope = "--user " if user else ""
    commands = [f"systemctl {scope}{words}" for words in ("daemon-reload", "enable eaves-flowers")]
    commands += [f"systemctl {scope}restart eaves-flowers", *(["loginctl enable-linger"] if user else [])]
    assert log.read_text().splitlines() == commands
    assert said[1:] == [f"ran {command}" for command in commands]
    assert service.path.read_text() == TEXT


def test_without_the_right_to_linger_the_error_says_who_may(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, log, monkeypatch, failing="linger")
    with pytest.raises(PlatformError) as found:
        install(build_service(tmp_path, user=True), TEXT, booted=True, report=print)
    assert "sudo loginctl enable-linger" in (found.value.hint or "")


def test_a_removed_service_is_stopped_before_its_file_goes(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = build_service(tmp_path, user=False)
    install(service, TEXT, booted=False, report=print)
    place(tmp_path, log, monkeypatch)
    uninstall(service, booted=True, report=print)
    assert log.read_text().splitlines() == ["systemctl disable --now eaves-flowers", "systemctl daemon-reload"]
    assert not service.path.exists()
