"""systemd as a parser: what it reads in a unit file, without being the init system."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes.commands import run_command

SYSTEMD = Path("/usr/lib/systemd/systemd")
NOBODY = pwd.getpwnam("nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadUnit:
    """A unit as systemd has read it.

    Attributes:
        command: Words of ExecStart, as they are passed to the program.
        values: The other settings, by the name in systemd's dump; the last one of each name.
        environment: Environment variables that the unit sets.
    """

    command: list[str]
    values: dict[str, str]
    environment: dict[str, str]


def require_systemd() -> None:
    """Skip the test, visibly, where systemd isn't installed (Debian's package `systemd`)."""
    if not SYSTEMD.exists() or not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")


def as_user() -> dict[str, Any]:
    """Arguments of subprocess for a process that isn't root's: systemd reads a user's units for no root."""
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder with a short path, which belongs to the user of `as_user`."""
    with tempfile.TemporaryDirectory(prefix="eaves-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Path(name)


def read_unit(file: Path) -> ReadUnit:
    """Have systemd read a unit file."""
    with open_folder() as folder:
        (folder / "units").mkdir()
        shutil.copy(file, folder / "units")
        environ = {"SYSTEMD_UNIT_PATH": f"{folder / 'units'}:", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        command = [str(SYSTEMD), "--test", "--user", f"--unit={file.name}", "--no-pager"]
        done = subprocess.run(
            command, env=environ, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL, **as_user()
        )
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    _, _, rest = text.partition(f"Unit {file.name}:\n")
    lines = [line.strip("\t") for line in re.split(r"\n\t→ Unit ", rest)[0].splitlines()]
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    return ReadUnit(
        command=_split(values["Command Line"]),
        values=values,
        environment=dict(
            line.removeprefix("Environment: ").split("=", 1) for line in lines if line.startswith("Environment: ")
        ),
    )


def verify(file: Path) -> None:
    """Have `systemd-analyze verify` check a unit file: it must find nothing."""
    command = ["systemd-analyze", "verify", "--man=no", str(file)]
    with open_folder() as folder:
        environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        done = run_command(command, env=environ, timeout=60)
    faults = done.stdout + done.stderr
    assert not faults, faults
    assert done.returncode == 0


def _split(line: str) -> list[str]:
    """The words of a command line as systemd's dump quotes it: some of them in double quotes, with backslashes."""
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', line)
    return [plain or re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in words]
