"""Byte code for a container's Python, compiled by an interpreter of the same version on this machine.

Python doesn't check this byte code against its source: nothing changes in a container image, and a check would slow a
cold start. Every patch release runs the byte code of its minor version, but two patch releases may compile the same
source to different bytes.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import OciError

_TIMEOUT_S = 600.0
_COMPILE = """
import compileall, py_compile, sys
good = compileall.compile_dir(
    sys.argv[1], stripdir=sys.argv[1], prependdir="/", quiet=2, workers=1, maxlevels=50, force=True,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
sys.exit(0 if good else 1)
"""
_ASK = "import platform, sys; print(sys.implementation.cache_tag, platform.python_version())"
_FIXED = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
"""All environment variables of the process that compiles. The hash seed is fixed because Python 3.13.0 writes some
names in the order of their hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A Python interpreter that compiles byte code.

    Attributes:
        program: Path of the interpreter.
        version: Full version, such as `3.13.5`.
    """

    program: str
    version: str


def find_compiler(python: str) -> Compiler:
    """Return a Python interpreter of a version such as `3.13`: the running one, otherwise one on the PATH.

    Raises:
        OciError: When there is no interpreter of this version; another version can't make its byte code.
    """
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own == python and sys.implementation.name == "cpython":
        return Compiler(program=sys.executable, version=platform.python_version())
    program = shutil.which(f"python{python}")
    output = _run([program, "-S", "-P", "-c", _ASK])[1].split() if program else []
    if program is None or len(output) != 2 or output[0] != f"cpython-{python.replace('.', '')}":
        raise OciError(
            f"the base image has Python {python}, and no Python on the PATH can compile for it",
            hint=f"install python{python}, or choose a base image with Python {own}",
        )
    return Compiler(program=program, version=output[1])


def compile_folder(compiler: Compiler, root: Path) -> None:
    """Compile every Python source below a folder; the byte code doesn't depend on the folder's path.

    The paths in the byte code are written as if the folder were the root directory.

    Raises:
        OciError: When compiling fails.
    """
    status, output = _run([compiler.program, "-S", "-P", "-s", "-B", "-c", _COMPILE, str(root)])
    if status:
        raise OciError(f"Python {compiler.version} can't compile the packages: {output[-300:]}")


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command with the environment in `_FIXED`; return its exit status and output."""
    try:
        done = subprocess.run(
            command,
            env=_FIXED,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout + done.stderr
