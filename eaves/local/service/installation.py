"""Installation and removal of the systemd service: its unit file, and systemctl where systemd runs."""

from __future__ import annotations

import difflib
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.errors import ConfigError, Fault, NotFoundError, PlatformError, StorageError
from eaves.local.service.unit import MARK, ServiceUnit, render_folder

SYSTEM_UNITS = Path("/etc/systemd/system")
"""Directory of the administrator's units. Source: systemd.unit(5), Unit File Load Path."""
BOOTED = Path("/run/systemd/system")
"""Directory that exists when systemd is the init system. Source: sd_booted(3)."""
TIMEOUT_S = 120.0
"""Time limit of one systemctl command, seconds; stopping the platform takes up to 90 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A service manager of systemd: that of the system, or that of one user.

    Attributes:
        units: Directory of the unit files.
        user: Whether it is one user's service manager and not the system's.
    """

    units: Path
    user: bool

    @property
    def systemctl(self) -> tuple[str, ...]:
        """Beginning of each systemctl command for this service manager, such as `systemctl --user`."""
        return ("systemctl", "--user") if self.user else ("systemctl",)

    def start_commands(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Return the commands that start a service now and at each boot; a running service is restarted."""
        linger = (("loginctl", "enable-linger"),) if self.user else ()
        enable, restart = (*self.systemctl, "enable", name), (*self.systemctl, "restart", name)
        return ((*self.systemctl, "daemon-reload"), enable, restart, *linger)


def choose_manager(*, is_root: bool) -> Manager:
    """Return systemd's system manager when the user is root, otherwise the user's own manager.

    The environment of a shell isn't that of the user's manager, so XDG_CONFIG_HOME isn't read here.
    """
    if is_root:
        return Manager(units=SYSTEM_UNITS, user=False)
    return Manager(units=Path.home() / ".config/systemd/user", user=True)


def is_booted() -> bool:
    """Return whether systemd is the init system of this machine or container."""
    return BOOTED.is_dir()


def install(unit: ServiceUnit, manager: Manager, *, force: bool, booted: bool, report: Callable[[str], None]) -> Path:
    """Write the unit file, and start the service now and at each boot where systemd runs.

    Args:
        unit: The service.
        manager: The service manager that runs the service.
        force: Whether to replace another unit file of this name.
        booted: Whether systemd runs, so that systemctl can be called.
        report: Called with each line for the person who installs the service.

    Returns:
        Path of the unit file.

    Raises:
        ConfigError: When another unit file has the name, or a unit file can't hold a value.
        PlatformError: When systemctl fails; the file is kept.
        StorageError: When the file can't be written.
    """
    path = manager.units / unit.file_name
    text = unit.render()
    try:
        changed = _write(path, text, force=force)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error
    report(f"{'wrote' if changed else 'unchanged:'} {path}")
    commands = manager.start_commands(unit.name)
    if not booted:
        report("systemd doesn't run here. Where it runs, these commands start the service, now and at each boot:")
        for command in commands:
            report(f"  {shlex.join(command)}")
        return path
    for command in commands:
        _run(command, report)
    report(f"{unit.name} is started, now and at each boot; `{_join(manager)} status {unit.name}` shows how it is")
    return path


def uninstall(
    name: str, project: Path, manager: Manager, *, force: bool, booted: bool, report: Callable[[str], None]
) -> Path:
    """Stop the service, and remove its unit file. The platform's state and the user's linger setting stay.

    Args:
        name: Name of the unit, without `.service`.
        project: Absolute path of the project's folder.
        manager: The service manager that has the unit.
        force: Whether to remove the service of another folder too.
        booted: Whether systemd runs, so that systemctl can be called.
        report: Called with each line for the person who removes the service.

    Returns:
        Path of the unit file.

    Raises:
        NotFoundError: When there is no such unit file.
        ConfigError: When the file isn't one that Eaves has written, or belongs to a project in another folder.
        PlatformError: When systemctl fails.
        StorageError: When the file can't be removed.
    """
    path = manager.units / f"{name}.service"
    try:
        _check_own(path, project, force=force)
        if booted:
            _run((*manager.systemctl, "disable", "--now", name), report)
        remove_durably(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"no service {name} is installed: there is no {path}") from error
    except OSError as error:
        raise StorageError(f"{path} can't be removed: {error.strerror or error}") from error
    report(f"removed {path}")
    if (changes := path.with_name(f"{path.name}.d")).exists():
        report(f"kept {changes}, the changes of `systemctl edit`; they apply when the service is installed again")
    if booted:
        _run((*manager.systemctl, "daemon-reload"), report)
    return path


def _write(path: Path, text: str, *, force: bool) -> bool:
    """Write a unit file; return whether the file was missing or had other content.

    Raises:
        ConfigError: When a file with other content exists and may not be replaced.
        OSError: When the file can't be written.
    """
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        before = None
    if before == text:
        return False
    if before is not None and not force:
        lines = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "new", lineterm="", n=1)
        message = "there is another unit file of this name:\n" + "\n".join(lines)
        raise ConfigError([Fault(origin="service", path="", message=message)], hint="--force replaces it")
    make_directory(path.parent, mode=0o755)
    write_atomically(path, text, mode=0o644)
    return True


def _check_own(path: Path, project: Path, *, force: bool) -> None:
    """Refuse a unit file that is not this project's.

    Raises:
        ConfigError: When Eaves hasn't written it, or it runs in another folder and `force` is not set.
        OSError: When it can't be read.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(MARK):
        message = f"{path} was not written by `eaves up --install-service`, so it stays"
        raise ConfigError([Fault(origin="service", path="", message=message)])
    begin = render_folder("")
    folder = next((line.removeprefix(begin) for line in text.splitlines() if line.startswith(begin)), "")
    if render_folder(str(project)) != begin + folder and not force:
        shown = folder.replace("%%", "%") or "none"
        message = f"{path} runs in another folder, {shown}, so it stays"
        raise ConfigError([Fault(origin="service", path="", message=message)], hint="--force removes it")


def _run(command: Sequence[str], report: Callable[[str], None]) -> None:
    """Run a command of systemd, such as systemctl.

    Raises:
        PlatformError: When the command fails.
    """
    line = shlex.join(command)
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"`{line}` failed: {error}", hint=line) from error
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise PlatformError(f"`{line}` failed: {reason}", hint=_advise(command))
    report(f"ran {line}")


def _advise(command: Sequence[str]) -> str:
    if command[0] == "loginctl":
        return "sudo loginctl enable-linger $USER   # so that the service starts at boot, before anybody logs in"
    if "--user" in command:
        return f"log in as this user (su and sudo start no service manager of the user), then: {shlex.join(command)}"
    return shlex.join(command)


def _join(manager: Manager) -> str:
    return shlex.join(manager.systemctl)
