"""The systemd service that `eaves up --install-service` installs with the options of the command line.

`eaves up --uninstall-service` removes the service.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.cli.app.project import read_yaml
from eaves.cli.display.output import say
from eaves.cli.shared_options import FILE
from eaves.config import iter_leaves
from eaves.errors import PlatformError
from eaves.http_client import proxies
from eaves.local.client import LocalPlatform
from eaves.local.console.exposure import prepare_exposure
from eaves.local.processes.process import INHERITED
from eaves.local.service import (
    ServiceUnit,
    acting_as,
    can_run,
    choose_manager,
    install,
    is_booted,
    owner_of,
    uninstall,
)
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.local.supervisor import open_token

FALLBACK_NAME = "platform"
"""Text that stands for the project in the service name when the name of the project's folder has no letter or digit."""
LEFT_TO_SYSTEMD = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"})
"""Environment variables that the unit file does not set, because systemd sets them itself or only a shell needs
them."""


def install_service(settings: LocalSettings, state_dir: Path, *, force: bool) -> Path:
    """Install the service that runs `eaves up` with these settings, and return the path of its unit file.

    The state directory and the token file are created first, so that they belong to the account that the service runs
    as, and so that a wrong setting is an error now and not at the next boot.
    """
    is_root = os.geteuid() == 0
    state = StateDirectory(root=state_dir.absolute())
    account = owner_of(state.root) if is_root else None
    settings = _make_absolute(settings)
    program = find_program()
    if account is not None and not can_run(account, [*program, "--version"]):
        message = f"{account.name}, the owner of {state.root}, can't run {program[0]}"
        hint = f"install Eaves where {account.name} can read all of it, its Python too"
        raise PlatformError(message, hint=hint)
    with acting_as(account or owner_of(Path.cwd())):
        state.prepare()
        open_token(settings.host, settings.token_file, state)
        prepare_exposure(settings, state)
    manager, name = choose_manager(is_root=is_root), find_service_name(Path.cwd())
    unit = ServiceUnit(
        name=name,
        project=Path.cwd(),
        command=(*program, *_list_arguments(settings, state.root)),
        state=state.root,
        account=account,
        environment=_choose_environment(os.environ, edit=shlex.join([*manager.systemctl, "edit", name])),
    )
    runs_already = LocalPlatform(state.root).running() and not (manager.units / unit.file_name).exists()
    path = install(unit, manager, force=force, booted=is_booted(), report=say)
    if account is not None:
        say(f"the service runs as {account.name}, the owner of the state directory")
    if runs_already:
        say("another `eaves up` of this project runs: stop it, and the service starts within a minute")
    return path


def uninstall_service(*, force: bool) -> Path:
    """Stop and remove the service of the project in the current folder; return the path of its unit file."""
    manager, folder = choose_manager(is_root=os.geteuid() == 0), Path.cwd()
    return uninstall(find_service_name(folder), folder, manager, force=force, booted=is_booted(), report=say)


def find_service_name(folder: Path) -> str:
    """Return the name of a project's service: `eaves-` and the name in eaves.yaml, else the folder's name."""
    file = folder / FILE
    named = read_yaml(file).get("name") if file.exists() else None
    if isinstance(named, str) and NAME_PATTERN.fullmatch(named):
        return f"eaves-{named}"
    return f"eaves-{re.sub('[^a-z0-9]+', '-', folder.name.lower()).strip('-')[:40] or FALLBACK_NAME}"


def find_program() -> tuple[str, ...]:
    """Return the command line that starts Eaves: the `eaves` script beside this Python, else this Python with `-m`."""
    python = Path(sys.executable).absolute()
    script = python.parent / "eaves"
    return (str(script),) if script.is_file() else (str(python), "-P", "-m", "eaves.cli")


def _make_absolute(settings: LocalSettings) -> LocalSettings:
    """Return the settings with absolute paths, as they are checked now and used by the service."""
    values: dict[str, Any] = {leaf.path: getattr(settings, leaf.path) for leaf in iter_leaves(LocalSettings)}
    changed = {name: value.absolute() for name, value in values.items() if isinstance(value, Path)}
    return replace(settings, **(values | changed))


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

    Args:
        environ: Environment of this process.
        edit: Command that changes the service, for the warning.
    """
    chosen = {}
    for name in INHERITED:
        if name in LEFT_TO_SYSTEMD or not environ.get(name):
            continue
        if name in proxies.VARIABLES and "@" in environ[name]:  # a proxy's address may have no scheme
            say(
                f"{name} holds a password, so the unit file, which every user can read, doesn't get it: write it to a "
                f"file of mode 0600, and name the file with EnvironmentFile= in `{edit}`"
            )
            continue
        chosen[name] = environ[name]
    return chosen
