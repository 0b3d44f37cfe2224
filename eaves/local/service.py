"""The systemd unit that starts the local platform at boot, which `eaves up --print-unit` prints.

Source: systemd.syntax(7), Quoting; systemd.unit(5), Specifiers; systemd.service(5), Command lines.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eaves.config import iter_leaves
from eaves.errors import ConfigError
from eaves.http_client import proxies
from eaves.local.processes.process import INHERITED, KUBECONFIG
from eaves.local.settings import LocalSettings

_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
"""Pattern of words that need no quotes in a unit file."""
_UNIT = """\
# Printed by `eaves up --print-unit`.
[Unit]
Description=Eaves: {name}
After=network.target
# No number of failed starts is the last one: nobody is there to start it again.
StartLimitIntervalSec=0
# Without the disk of its state, `eaves up` would make another state directory below the place of the disk.
RequiresMountsFor={state}

[Service]
Type=exec
User={account}
# The slash at the end keeps a space or a backslash before it.
{environment}WorkingDirectory={folder}/
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
# /usr, /boot and /etc are read-only, except the state directory if it is there.
ProtectSystem=full
ReadWritePaths={writable}
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes

[Install]
WantedBy=multi-user.target
"""
LEFT_TO_SYSTEMD = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"})
"""Environment variables that the unit does not set, because systemd sets them itself or only a shell needs
them."""


def build_unit(name: str, settings: LocalSettings, state: Path, say: Callable[[str], None]) -> str:
    """Return the unit that runs `eaves up` in the current folder, as the account that asks for it.

    Args:
        name: Name of the project.
        settings: The settings of `eaves up`.
        state: State directory of the platform.
        say: Shows a line to the person who asks for the unit.

    Raises:
        ConfigError: When a unit can't hold a path or a value.
    """
    try:
        account = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        account = str(os.geteuid())
    command = (*_find_program(), *_list_arguments(settings, state.absolute()))
    return render_unit(
        name, Path.cwd(), command, state.absolute(), account=account, environment=_choose_environment(say)
    )


def render_unit(
    name: str, project: Path, command: Sequence[str], state: Path, *, account: str, environment: Mapping[str, str]
) -> str:
    """Return the text of the unit that runs `eaves up` for one project.

    Args:
        name: Name of the project.
        project: Absolute path of the project's folder, the working directory.
        command: The command with its arguments; the first word is an absolute path.
        state: Absolute path of the platform's state directory.
        account: Name of the account that the service runs as.
        environment: Environment variables of the service, in addition to systemd's own.

    Raises:
        ConfigError: When a unit can't hold a path or a value.
    """
    for text in (str(project), *command, *environment.values()):
        unfit = "\"'\\\x7f" if text == command[0] else "\x7f"  # in quotes, systemd refuses a program with quotes
        if any(char < " " or char in unfit or "\ud800" <= char <= "\udfff" for char in text):
            message = (
                f"{text!r} has a control character or bytes that are no UTF-8, or is a program whose path has quotes "
                "or backslashes, which a systemd unit can't hold"
            )
            raise ConfigError.single("service", "", message, hint="rename it")
    # In arguments, the prefix `:` keeps systemd from replacing `$NAME`.
    prefix = ":" if any("$" in word for word in command) else ""
    return _UNIT.format(
        name=name,
        state=_quote(str(state)),
        account=account,
        environment="".join(f"Environment={_quote(f'{key}={value}')}\n" for key, value in sorted(environment.items())),
        folder=str(project).replace("%", "%%"),
        command=prefix + " ".join(map(_quote, command)),
        writable=_quote(f"-{state}"),
    )


def _quote(word: str) -> str:
    """Return a word, such as an argument or an environment variable, quoted for a list in a unit file."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


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


def _choose_environment(say: Callable[[str], None]) -> dict[str, str]:
    """Return the environment variables for the unit: those that `eaves up` passes to its processes.

    A proxy's address with a password is left out with a warning, because every user can read a unit.
    """
    names = [name for name in (*INHERITED, KUBECONFIG) if name not in LEFT_TO_SYSTEMD]
    chosen = {name: os.environ[name] for name in names if os.environ.get(name)}
    for name in proxies.VARIABLES:
        if "@" in chosen.get(name, ""):  # a proxy's address may have no scheme
            del chosen[name]
            say(
                f"{name} holds a password, so the unit, which every user can read, doesn't get it: write it to a file "
                "of mode 0600 that EnvironmentFile= in the unit names"
            )
    return chosen
