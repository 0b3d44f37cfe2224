"""Byte code for a container's Python and its standard library, compiled by an interpreter of the same version here.

Python doesn't check this byte code against its source: nothing changes in a container image, and a check would slow a
cold start. Every patch release runs the byte code of its minor version, but two patch releases may compile the same
source to different bytes.

The official container images of Python contain no byte code, and a container with a read-only root can't keep any, so
each start would compile about 150 modules of the standard library. Their sources are the base's own, because byte code
of another release would undo the base's fixes.

Source: docker-library/python, whose Dockerfiles remove every `*.pyc` below /usr/local.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, cast

from eaves.errors import OciError, StandardLibraryError
from eaves.oci.layers.image import Image
from eaves.oci.layers.layer import LayerFile, read_layer
from eaves.oci.layout import ContentSource, create_layout

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


LEFT_OUT = frozenset({
    "site-packages", "dist-packages", "test", "tests", "unittest", "idlelib", "ensurepip", "lib2to3", "distutils",
    "venv", "tkinter", "turtledemo", "curses", "dbm", "asyncio", "pydoc_data", "wsgiref", "xmlrpc", "_pyrepl",
    "tomllib", "_pydecimal.py", "_pyio.py", "argparse.py", "bdb.py", "doctest.py", "ftplib.py", "imaplib.py",
    "mailbox.py", "optparse.py", "pdb.py", "pickletools.py", "plistlib.py", "pstats.py", "pydoc.py", "smtplib.py",
    "statistics.py", "trace.py", "turtle.py", "webbrowser.py",
})  # fmt: skip
"""Folders and large files of the standard library that no container of Eaves imports. A process that imported such a
module would compile it at each start."""
OF_AGENTS = frozenset({
    "concurrent", "configparser.py", "gzip.py", "multiprocessing", "sqlite3", "tarfile.py", "xml", "zoneinfo",
})  # fmt: skip
"""Folders and files that agents import, by boto3 and for their queue, and that a function doesn't."""
OFFICIAL = "usr/local/"
"""Folder above the standard library of an official image of Python; its `python` is the one that PATH finds first."""


def load_standard_library(left_out: frozenset[str] = LEFT_OUT | OF_AGENTS) -> Mapping[str, bytes]:
    """Return the standard library of the interpreter that runs this: each source by its path below the root."""
    root = Path(sysconfig.get_path("stdlib")).resolve()
    paths = [path for path in root.rglob("*.py") if not left_out & {*path.relative_to(root).parts}]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]  # a link's target may be configuration
    return {path.as_posix().removeprefix("/"): path.read_bytes() for path in files}


def compile_standard_library(library: Mapping[str, bytes], compiler: Compiler) -> list[LayerFile]:
    """Compile the modules of a standard library; the byte code is returned without the sources.

    A base that has byte code already gets it anew, so that the interpreter doesn't check it against its source either.

    Args:
        library: The base's standard library: each source by its path below the container's root.
        compiler: Interpreter of the same minor version.

    Raises:
        StandardLibraryError: When a module doesn't compile.
    """
    with TemporaryDirectory(prefix="eaves-library-") as made:
        folder = Path(made)
        for path, source in library.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(source)
        try:
            compile_folder(compiler, folder)
        except OciError as error:
            raise StandardLibraryError(f"the base's standard library can't be compiled: {error.message}") from error
        return [
            LayerFile(path=path.relative_to(folder).as_posix(), content=path.read_bytes())
            for path in folder.rglob("*.pyc")
        ]


_GLIBC_PATH = re.compile(r"(?:.+/)?libc(?:\.so\.6|-2\.\d+\.so)")  # before 2.34, libc.so.6 is a link to libc-2.31.so
_GLIBC_RELEASE = re.compile(rb"GNU C Library [^\n]* release version (2\.\d+)")


def find_standard_library(
    source: ContentSource, image: Image, python: str, say: Callable[[str], object] = lambda text: None
) -> tuple[Mapping[str, bytes], str]:
    """Find the standard library of a base, and the version of its glibc.

    Layers are fetched from the top, and only down to those that contain `os.py` below usr/local and glibc: an official
    container image of Python has its standard library above the layers of Debian. A library elsewhere counts when no
    layer has that one, because a package of Debian may bring another Python into an upper layer.

    Args:
        source: Source of the base.
        image: The base for one platform.
        python: Version of its Python, such as `3.13`.
        say: Function that is called with each line of progress.

    Returns:
        Each source by its path below the container's root; glibc's version such as `2.36`, empty without glibc.

    Raises:
        StandardLibraryError: When no layer contains the library, or a layer can't be read.
        OciError: When a layer can't be fetched, or the disk is full.
    """
    place = re.compile(rf"(?P<root>(?:[\w.+-]+/)*lib/python{re.escape(python)})/(?P<path>.+)")
    found: dict[str, bytes] = {}
    glibc = ""
    with TemporaryDirectory(prefix="eaves-base-") as folder:
        layout = create_layout(Path(folder) / "layout")
        for layer in reversed(image.layers):
            say(f"reading the base's layer {layer.digest[7:19]}, {layer.size / 1e6:.1f} MB, for its library and glibc")
            layout.write(layer, source)
            try:
                with read_layer(layout.blob_path(layer.digest), layer) as tar:
                    for member in tar:
                        name = PurePosixPath(member.name).as_posix().removeprefix("/")
                        if not glibc and member.isfile() and _GLIBC_PATH.fullmatch(name):
                            release = _GLIBC_RELEASE.search(cast("IO[bytes]", tar.extractfile(member)).read())
                            glibc = release[1].decode() if release else ""
                        # Upper layers come first, and what they have replaced stays. Files that they remove are added:
                        # Python doesn't use byte code in `__pycache__` without its source.
                        if not (member.isfile() and name.endswith(".py") and name not in found):
                            continue
                        parts = PurePosixPath(name).parts
                        # Sources are compiled below their paths in a temporary folder, so no path may lead out of it.
                        if place.fullmatch(name) and not {*LEFT_OUT, *OF_AGENTS, ".."} & {*parts}:
                            found[name] = cast("IO[bytes]", tar.extractfile(member)).read()
            except OciError as error:
                raise StandardLibraryError(f"the base's standard library can't be read: {error.message}") from error
            if glibc and _root_of(found, place).startswith(OFFICIAL):
                break
    if not (root := _root_of(found, place)):
        raise StandardLibraryError(
            f"no layer of the base contains lib/python{python}/os.py", hint="use an official image of Python"
        )
    return {path: source for path, source in found.items() if path.startswith(f"{root}/")}, glibc


def _root_of(found: Mapping[str, bytes], place: re.Pattern[str]) -> str:
    """Return the folder with `os.py`; that below usr/local when there are several; empty without any."""
    matches = (place.fullmatch(path) for path in found)
    roots = [match["root"] for match in matches if match and match["path"] == "os.py"]
    return min(roots, key=lambda root: (not root.startswith(OFFICIAL), root), default="")
