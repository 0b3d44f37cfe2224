"""The systemd service that `eaves up --install-service` installs with the options of the command line."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.cli.output import say
from eaves.cli.project import read_yaml
from eaves.cli.site import FILE
from eaves.config import iter_leaves
from eaves.errors import PlatformError
from eaves.http_client import proxies
from eaves.local.client import LocalPlatform
from eaves.local.console.manager import prepare_exposure
from eaves.local.processes.process import INHERITED
from eaves.local.service import BOOTED, SystemdService, find_service, install, render_unit, uninstall
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.local.supervisor import open_token

LEFT_TO_SYSTEMD = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"})
"""Environment variables that the unit file does not set, because systemd sets them itself or only a shell needs
them."""


def install_service(settings: LocalSettings, state_dir: Path) -> Path:
    """Install the service that runs `eaves up` with these settings, and return the path of its unit file.

    The state directory and the token file are created first, so that they belong to the account that the service runs
    as, and so that a wrong setting is an error now and not at the next boot.
    """
    service, state = _find_service(), StateDirectory(root=state_dir.absolute())
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
    environment = _choose_environment(os.environ, edit=shlex.join([*service.systemctl, "edit", service.name]))
    text = render_unit(
        service,
        (*program, *_list_arguments(settings, state.root)),
        state.root,
        account=account,
        environment=environment,
    )
    if LocalPlatform(state.root).running() and not service.path.exists():
        say("another `eaves up` of this project runs: stop it, and the service starts within a minute")
    install(service, text, booted=BOOTED.is_dir(), report=say)
    if service.is_system:
        say(f"the service runs as {account}, the owner of the state directory")
    return service.path


def uninstall_service() -> Path:
    """Stop and remove the service of the project in the current folder; return the path of its unit file."""
    service = _find_service()
    uninstall(service, booted=BOOTED.is_dir(), report=say)
    return service.path


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


def _find_service() -> SystemdService:
    """Return this project's service: `eaves-` and the name in eaves.yaml, else the folder's name."""
    folder = Path.cwd()
    name = read_yaml(folder / FILE).get("name") if (folder / FILE).exists() else None
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        name = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:40] or "platform"
    return find_service(f"eaves-{name}", folder, is_system=os.geteuid() == 0)


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


def _choose_environment(environ: Mapping[str, str], *, edit: str) -> dict[str, str]:
    """Return the environment variables for the unit file: those that `eaves up` passes to functions and sources.

    A proxy's address with a password is left out with a warning, because every user can read a unit file.
    """
    chosen = {name: environ[name] for name in INHERITED if name not in LEFT_TO_SYSTEMD and environ.get(name)}
    for name in proxies.VARIABLES:
        if "@" in chosen.get(name, ""):  # a proxy's address may have no scheme
            del chosen[name]
            say(
                f"{name} holds a password, so the unit file, which every user can read, doesn't get it: write it to a "
                f"file of mode 0600, and name the file with EnvironmentFile= in `{edit}`"
            )
    return chosen
