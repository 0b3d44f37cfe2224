"""The systemd service that starts the local platform at boot, which `eaves up --install-service` installs.

Source: systemd.syntax(7), Quoting; systemd.unit(5), Specifiers; systemd.service(5), Command lines.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.base.names import build_name
from eaves.config import iter_leaves
from eaves.errors import ConfigError, NotFoundError, PlatformError, StorageError
from eaves.http_client import proxies
from eaves.local.client import LocalPlatform
from eaves.local.console_manager import prepare_exposure
from eaves.local.processes.process import INHERITED
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.local.supervisor import open_token

BOOTED = Path("/run/systemd/system")
"""Directory that exists when systemd is the init system. Source: sd_booted(3)."""
TIMEOUT_S = 120.0
"""Time limit of one systemctl command, seconds; stopping the platform takes up to 90 s."""
MARK = "# Written by `eaves up --install-service`; `eaves up --uninstall-service` removes it."
"""First line of each unit file that Eaves writes; a file without it is neither replaced nor removed."""
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
"""Pattern of words that need no quotes in a unit file."""
_UNIT = """\
{mark}
# For changes of your own: `{edit}`. They stay when this file is written again.
[Unit]
Description=Eaves: {name}
After=network.target
# No number of failed starts is the last one: nobody is there to start it again.
StartLimitIntervalSec=0
{mounts}
[Service]
Type=exec
{account}{environment}{folder}
ExecStart={command}
Restart=on-failure
# Pauses grow from 5 s to 60 s in 5 steps; before systemd 254 each is 5 s.
RestartSec=5
RestartSteps=5
RestartMaxDelaySec=60
# `eaves up` stops its own processes in order. It waits up to 30 s for deliveries, 20 s for sources and relays, and 30 s
# for functions. What is killed after that is delivered at the next start.
KillMode=mixed
KillSignal=SIGTERM
# The exit code of an `eaves up` that is stopped before it has started.
SuccessExitStatus=143
TimeoutStopSec=90
# A function that the kernel ends for want of memory is started again by `eaves up`; the others keep running.
OOMPolicy=continue
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
{protection}
[Install]
WantedBy={target}
"""
_MOUNTS = """\
# Without the disk of its state, `eaves up` would make another state directory below the place of the disk.
RequiresMountsFor={state}
"""
_PROTECTION = """\
# /usr, /boot and /etc are read-only, except the state directory if it is there.
ProtectSystem=full
ReadWritePaths={state}
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
"""


LEFT_TO_SYSTEMD = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"})
"""Environment variables that the unit file does not set, because systemd sets them itself or only a shell needs
them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdService:
    """A service of systemd's system manager, or of one user's own manager.

    Attributes:
        name: Name of the unit, without `.service`.
        project: Absolute path of the project's folder, the working directory of the service.
        is_system: Whether the system manager runs it.
        units: Directory of the unit files.
    """

    name: str
    project: Path
    is_system: bool
    units: Path

    @property
    def path(self) -> Path:
        """The unit file."""
        return self.units / f"{self.name}.service"

    @property
    def systemctl(self) -> tuple[str, ...]:
        """Beginning of each systemctl command for this service."""
        return ("systemctl",) if self.is_system else ("systemctl", "--user")

    @property
    def edit(self) -> str:
        """Command for changes of a person's own."""
        return shlex.join((*self.systemctl, "edit", self.name))


def find_service(name: str) -> SystemdService:
    """Return the service of the project in the current folder, `eaves-NAME`, in its manager's directory.

    Without a name it gets the folder's. The manager doesn't see a shell's XDG_CONFIG_HOME.
    """
    folder, is_system = Path.cwd(), os.geteuid() == 0
    name = name or build_name(folder.name, "platform")
    units = Path("/etc/systemd/system") if is_system else Path.home() / ".config/systemd/user"
    return SystemdService(name=f"eaves-{name}", project=folder, is_system=is_system, units=units)


def render_unit(
    service: SystemdService, command: Sequence[str], state: Path, *, account: str, environment: Mapping[str, str]
) -> str:
    """Return the text of the unit file that runs `eaves up` for one project.

    Args:
        service: The service.
        command: The command with its arguments; the first word is an absolute path.
        state: Absolute path of the platform's state directory.
        account: Name of the account that a system service runs as.
        environment: Environment variables of the service, in addition to systemd's own.

    Raises:
        ConfigError: When a unit file can't hold a path or a value.
    """
    for text in (str(service.project), *command, *environment.values()):
        if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text):
            message = f"{text!r} has a control character or bytes that are no UTF-8, which a systemd unit can't hold"
            raise _fault(message, "rename it")
    return _UNIT.format(
        mark=MARK,
        edit=service.edit,
        name=service.name.removeprefix("eaves-"),
        mounts=_MOUNTS.format(state=_quote(str(state))) if service.is_system else "",
        account=f"User={account}\n" if service.is_system else "",
        environment="".join(f"Environment={_quote(f'{key}={value}')}\n" for key, value in sorted(environment.items())),
        folder=_render_folder(service.project),
        command=_quote_command(command),
        protection=_PROTECTION.format(state=_quote(f"-{state}")) if service.is_system else "",
        target="multi-user.target" if service.is_system else "default.target",
    )


def install(
    service: SystemdService, text: str, *, report: Callable[[str], None], booted: bool = BOOTED.is_dir()
) -> None:
    """Write the unit file, and start the service now and at each boot where systemd runs.

    Args:
        service: The service.
        text: Text of the unit file, which replaces an earlier one of the same project.
        booted: Whether systemd runs, so that systemctl can be called.
        report: Called with each line for the person who installs the service.

    Raises:
        ConfigError: When another unit file has the name.
        PlatformError: When systemctl fails; the file is kept.
        StorageError: When the file can't be written.
    """
    try:
        _check_own(service)
        make_directory(service.units, mode=0o755)
        write_atomically(service.path, text, mode=0o644)
    except OSError as error:
        raise StorageError(f"{service.path} can't be written: {error.strerror or error}") from error
    report(f"wrote {service.path}")
    words = (("daemon-reload",), ("enable", service.name), ("restart", service.name))
    commands = [(*service.systemctl, *one) for one in words]
    if not service.is_system:
        commands.append(("loginctl", "enable-linger"))
    if not booted:
        report("systemd doesn't run here. Where it runs, these commands start the service, now and at each boot:")
    for command in commands:
        if booted:
            _run(command)
        report(f"ran {shlex.join(command)}" if booted else f"  {shlex.join(command)}")


def uninstall(service: SystemdService, *, report: Callable[[str], None], booted: bool = BOOTED.is_dir()) -> None:
    """Stop the service, and remove its unit file. The platform's state and the user's linger setting stay.

    Raises:
        NotFoundError: When there is no such unit file.
        ConfigError: When the file isn't one that Eaves has written for this project.
        PlatformError: When systemctl fails.
        StorageError: When the file can't be removed.
    """
    try:
        if not _check_own(service):
            raise NotFoundError(f"no service {service.name} is installed: there is no {service.path}")
        if booted:
            _run((*service.systemctl, "disable", "--now", service.name))
        remove_durably(service.path)
    except OSError as error:
        raise StorageError(f"{service.path} can't be removed: {error.strerror or error}") from error
    report(f"removed {service.path}")
    if booted:
        _run((*service.systemctl, "daemon-reload"))


def _check_own(service: SystemdService) -> bool:
    """Return whether the unit file exists; refuse one that Eaves hasn't written for this project."""
    if not service.path.exists():
        return False
    first, *lines = service.path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if first != MARK:
        raise _fault(f"{service.path} was not written by `eaves up --install-service`, so it stays", "remove it")
    if _render_folder(service.project) not in lines:
        message = f"{service.path} belongs to a project in another folder, so it stays"
        raise _fault(message, "name this project differently in eaves.yaml, or remove the file")
    return True


def _run(command: Sequence[str]) -> None:
    line = hint = shlex.join(command)
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"`{line}` failed: {error}", hint=hint) from error
    if done.returncode != 0:
        if command[0] == "loginctl":
            hint = "sudo loginctl enable-linger $USER   # so that the service starts at boot, before anybody logs in"
        elif "--user" in command:
            hint = f"log in as this user (su and sudo start no service manager of the user), then: {line}"
        reason = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise PlatformError(f"`{line}` failed: {reason}", hint=hint)


def _quote(word: str) -> str:
    """Return a word, such as an argument or an environment variable, quoted for a list in a unit file."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _quote_command(command: Sequence[str]) -> str:
    """Return a command line for ExecStart.

    In arguments, the prefix `:` keeps systemd from replacing `$NAME`. systemd refuses a program whose path has quotes
    or backslashes (config_parse_exec), so such a program is started by env(1), as an argument of it.
    """
    words = ["/usr/bin/env", *command] if set(command[0]) & set("\"'\\") else list(command)
    prefix = ":" if any("$" in word for word in words) else ""
    return prefix + " ".join(map(_quote, words))


def _render_folder(path: Path) -> str:
    """Return the line of the working directory, a path without quotes.

    systemd would remove a space at the end of the line, and would join the line with the next one after a backslash; a
    slash prevents both.
    """
    text = str(path).replace("%", "%%")
    return f"WorkingDirectory={text}/" if text[-1:] in {" ", "\\"} else f"WorkingDirectory={text}"


def _fault(message: str, hint: str) -> ConfigError:
    return ConfigError.single("service", "", message, hint=hint)


def install_service(
    service: SystemdService, settings: LocalSettings, state_dir: Path, say: Callable[[str], None]
) -> None:
    """Install the service that runs `eaves up` with these settings.

    The state directory and the token file are created first, so that they belong to the account that the service runs
    as, and so that a wrong setting is an error now and not at the next boot.

    Args:
        service: The service, see `find_service`.
        settings: The settings of `eaves up`.
        state_dir: State directory of the platform.
        say: Shows a line to the person who installs the service.
    """
    state = StateDirectory(root=state_dir.absolute())
    paths: dict[str, Any] = {
        leaf.path: value.absolute()
        for leaf in iter_leaves(LocalSettings)
        if isinstance(value := getattr(settings, leaf.path), Path)
    }
    settings = replace(settings, **paths)
    owner = find_owner(state.root)
    try:
        account = pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:
        account = str(owner.st_uid)
    program = _find_program()
    with _acting_as(owner):
        if not os.access(sys.executable, os.X_OK, effective_ids=True):
            message = f"{account}, the owner of {state.root}, can't run {program[0]}"
            raise PlatformError(message, hint=f"install Eaves where {account} can read all of it, its Python too")
        state.prepare()
        open_token(settings.host, settings.token_file, state)
        prepare_exposure(settings, state)
    environment = _choose_environment(service.edit, say)
    text = render_unit(
        service,
        (*program, *_list_arguments(settings, state.root)),
        state.root,
        account=account,
        environment=environment,
    )
    if LocalPlatform(state.root).running() and not service.path.exists():
        say("another `eaves up` of this project runs: stop it, and the service starts within a minute")
    install(service, text, report=say)
    if service.is_system:
        say(f"the service runs as {account}, the owner of the state directory")


def find_owner(path: Path) -> os.stat_result:
    """Return the owner of a path, or of its nearest parent that exists.

    A symbolic link isn't followed: it may lead to a folder in which its owner has no rights.
    """
    return next(one for one in (path, *path.parents) if os.path.lexists(one)).lstat()


@contextmanager
def _acting_as(owner: os.stat_result) -> Iterator[None]:
    """Access files with the rights of an owner within the block, when this process runs as root."""
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _find_program() -> tuple[str, ...]:
    """Return the command line that starts Eaves: the `eaves` script beside this Python, else this Python with `-m`."""
    python = Path(sys.executable).absolute()
    script = python.parent / "eaves"
    return (str(script),) if script.is_file() else (str(python), "-P", "-m", "eaves.cli")


def _list_arguments(settings: LocalSettings, state: Path) -> tuple[str, ...]:
    """Return the arguments of `eaves up` in the unit file: each setting that a flag or a variable has changed."""
    words = ["up", "--quiet", "--state", str(state)]
    for leaf in iter_leaves(LocalSettings):
        value = getattr(settings, leaf.path)
        if value == leaf.default:
            continue
        if isinstance(value, bool):
            words.append(leaf.flag if value else f"--no-{leaf.flag.removeprefix('--')}")
        else:
            words += [leaf.flag, str(value)]
    return tuple(words)


def _choose_environment(edit: str, say: Callable[[str], None]) -> dict[str, str]:
    """Return the environment variables for the unit file: those that `eaves up` passes to functions and sources.

    A proxy's address with a password is left out with a warning, because every user can read a unit file; `edit` is the
    command that changes the unit.
    """
    chosen = {name: os.environ[name] for name in INHERITED if name not in LEFT_TO_SYSTEMD and os.environ.get(name)}
    for name in proxies.VARIABLES:
        if "@" in chosen.get(name, ""):  # a proxy's address may have no scheme
            del chosen[name]
            say(
                f"{name} holds a password, so the unit file, which every user can read, doesn't get it: write it to a "
                f"file of mode 0600, and name the file with EnvironmentFile= in `{edit}`"
            )
    return chosen
