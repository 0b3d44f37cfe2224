"""Rendering of the systemd unit file that runs `eaves up` for one project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eaves.local.service.account import Account
from eaves.local.service.quoting import check, escape_specifiers, quote, quote_command, write_path

MARK = "# Written by `eaves up --install-service`; `eaves up --uninstall-service` removes it."
"""First line of each unit file that Eaves writes; a file without it is never removed."""

_HEAD = """\
{mark}
# For changes of your own: `{edit}`. They stay when this file is written again.
[Unit]
Description=Eaves: {name}
After=network.target
# No number of failed starts is the last one: nobody is there to start it again.
StartLimitIntervalSec=0
"""
_SYSTEM_HEAD = """\
# Without the disk of its state, `eaves up` would make another state directory below the place of the disk.
RequiresMountsFor={state}
"""
_TYPE = """\

[Service]
Type=exec
"""
_SERVICE = """\
{folder}
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
"""
_SYSTEM = """\
# /usr, /boot and /etc are read-only, except the state directory if it is there.
ProtectSystem=full
ReadWritePaths={state}
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnit:
    """A systemd service that runs `eaves up`.

    Attributes:
        name: Name of the unit, without `.service`.
        project: Absolute path of the project's folder, the working directory of the service.
        command: The command with its arguments; the first word is an absolute path.
        state: Absolute path of the platform's state directory.
        account: Account that a system service runs as; None for a service of a user's own service manager.
        environment: Environment variables of the service, in addition to systemd's own.
    """

    name: str
    project: Path
    command: tuple[str, ...]
    state: Path
    account: Account | None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Name of the unit file."""
        return f"{self.name}.service"

    def render(self) -> str:
        """Return the unit file's text.

        Raises:
            ConfigError: When a unit file can't hold a path or a value.
        """
        check(str(self.project), "project")
        for word in (*self.command, *self.environment.values()):
            check(word, "command")
        systemctl = "systemctl --user" if self.account is None else "systemctl"
        lines = [_HEAD.format(mark=MARK, edit=f"{systemctl} edit {self.name}", name=self.name.removeprefix("eaves-"))]
        if self.account is not None:
            lines.append(_SYSTEM_HEAD.format(state=quote(str(self.state))))
        lines.append(_TYPE)
        if self.account is not None:
            lines.append(f"User={escape_specifiers(self.account.name)}\n")
        lines += [f"Environment={quote(f'{key}={value}')}\n" for key, value in sorted(self.environment.items())]
        lines.append(_SERVICE.format(folder=render_folder(str(self.project)), command=quote_command(self.command)))
        if self.account is not None:
            lines.append(_SYSTEM.format(state=quote(f"-{self.state}")))
        target = "default.target" if self.account is None else "multi-user.target"
        return "".join((*lines, f"\n[Install]\nWantedBy={target}\n"))


def render_folder(path: str) -> str:
    """Return the line that names the folder in which a service runs; for an empty path, the line's beginning."""
    return f"WorkingDirectory={write_path(path)}"
