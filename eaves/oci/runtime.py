"""What a function needs besides its artifact, as two layers: locked wheels, which change rarely, and our own code.

Both are compiled to byte code that is never checked against its source: nothing changes in a container image, and a
check costs a cold start. The Dockerfile makes the same root.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import eaves
from eaves.errors import OciError
from eaves.oci import wheels
from eaves.oci.descriptor import Platform, parse_descriptor
from eaves.oci.layer import Layer, LayerFile, write_layer
from eaves.oci.layout import Layout

PACKAGES = "opt/eaves"
CODE = "opt/code"
LOCK = "serve.txt"
UNUSED = ("eaves/cli", "eaves/local", "eaves/sources", "eaves/oci")
"""Of our code: what a function never imports."""
ROOMS = ("eaves", "functions")
FORMAT = 1
"""Raise when what goes into the layers changes, so that cached ones are made again."""
ENVIRONMENT = {
    "PYTHONPATH": f"/{CODE}:/{PACKAGES}",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HOME": "/tmp",  # noqa: S108 - in the container, where nothing else can be written
}
_COMPILE = """
import compileall, py_compile, sys
good = compileall.compile_dir(
    sys.argv[1], stripdir=sys.argv[1], prependdir="/", quiet=2, workers=1, maxlevels=50,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
sys.exit(0 if good else 1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What to build layers for.

    Attributes:
        platform: Of the container.
        python: Its Python, `3.13`.
    """

    platform: Platform
    python: str


def build_layers(runtime: Runtime, cache: Layout, say: Callable[[str], object] = lambda text: None) -> list[Layer]:
    """The runtime's layers, from the cache where they are in it.

    Args:
        runtime: For what.
        cache: Has those made before, and gets these.
        say: Told what is being done, since it takes a while.

    Raises:
        OciError: When wheels can't be had, or nothing here compiles for that Python.
    """
    lock = find_lock()
    code = list(code_files())
    keys = {
        "packages": _key(str(runtime.platform), runtime.python, lock.read_bytes()),
        f"eaves {eaves.__version__}": _key(
            runtime.python, *(part for file in code for part in (file.path.encode(), _bytes_of(file)))
        ),
    }
    layers = []
    for title, key in keys.items():
        layer = _cached(cache, key)
        if layer is None:
            say(f"making the layer {title} for {runtime.platform}, Python {runtime.python}")
            with tempfile.TemporaryDirectory(prefix="eaves-layer-") as folder:
                root = Path(folder)
                unpack(package_files(runtime, lock) if title == "packages" else code, runtime.python, root)
                layer = _keep(cache, key, write_layer(cache, _files_of(root), title, compress=True))
        layers.append(layer)
    return layers


def unpack(files: Iterable[LayerFile], python: str, root: Path) -> None:
    """Write files below a root and compile what is Python.

    Raises:
        OciError: When the disk is full, or nothing here compiles for that Python.
    """
    try:
        for file in files:
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_bytes_of(file))
    except OSError as error:
        raise OciError(f"{error.filename} can't be written: {error.strerror}", hint="free some space") from error
    _compile(python, root)


def package_files(runtime: Runtime, lock: Path) -> Iterator[LayerFile]:
    """Every file of the locked wheels that a function may need.

    Raises:
        OciError: When wheels can't be had.
    """
    with tempfile.TemporaryDirectory(prefix="eaves-wheels-") as folder:
        for wheel in wheels.download(lock, runtime.platform, runtime.python, Path(folder)):
            yield from wheels.wheel_files(wheel, PACKAGES)


def find_lock() -> Path:
    """The lock of the edge's packages: beside this file in a wheel, in requirements/ in the source tree.

    Raises:
        OciError: When it is in neither.
    """
    here = Path(__file__)
    for path in (here.with_name(LOCK), here.parents[2] / "requirements" / LOCK):
        if path.is_file():
            return path
    raise OciError(f"{LOCK}, the lock of a function's packages, isn't there", hint="install Eaves again")


def _files_of(root: Path) -> Iterator[LayerFile]:
    for path in root.rglob("*"):
        if path.is_file():
            yield LayerFile(path=path.relative_to(root).as_posix(), content=path)


def _compile(python: str, root: Path) -> None:
    """Byte code by the very version that will run it; hashes are fixed, since sets are written in their order."""
    command = [find_python(python), "-I", "-c", _COMPILE, str(root)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
    )
    if done.returncode:
        raise OciError(f"Python {python} could not compile the packages: {(done.stdout + done.stderr)[-300:]}")


def find_python(version: str) -> str:
    """An interpreter of that version on this machine.

    Raises:
        OciError: When there is none: byte code can be made by no other.
    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise OciError(
            f"the base has Python {version}, and none here can compile for it",
            hint=f"install python{version}, or choose a base with Python {here}",
        )
    return found


def code_files() -> Iterator[LayerFile]:
    """Our own code, as far as a function imports it, and the package's licence."""
    root = Path(eaves.__file__).parents[1]
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            relative = path.relative_to(root).as_posix()
            if not relative.startswith(tuple(f"{unused}/" for unused in UNUSED)):
                yield LayerFile(path=f"{CODE}/{relative}", content=path)


def _bytes_of(file: LayerFile) -> bytes:
    return file.content if isinstance(file.content, bytes) else file.content.read_bytes()


def _key(*parts: str | bytes) -> str:
    seen = hashlib.sha256(f"{FORMAT} {metadata.version('deflate')}".encode())
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        seen.update(len(content).to_bytes(8, "big") + content)
    return seen.hexdigest()


def _cached(cache: Layout, key: str) -> Layer | None:
    path = cache.path / f"{key}.json"
    try:
        values = json.loads(path.read_bytes())
        layer = Layer(
            descriptor=parse_descriptor(values["descriptor"]),
            diff_id=str(values["diff_id"]),
            title=str(values["title"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OciError):
        return None
    return layer if cache.has(layer.descriptor) else None


def _keep(cache: Layout, key: str, layer: Layer) -> Layer:
    values = {"descriptor": layer.descriptor.to_dict(), "diff_id": layer.diff_id, "title": layer.title}
    temporary = cache.new_file()
    temporary.write_text(json.dumps(values))
    temporary.replace(cache.path / f"{key}.json")
    return layer


def main(root: str) -> None:
    """`python -m eaves.oci.runtime ROOT`: the runtime for this very machine and Python, as the Dockerfile takes it."""
    machine = os.uname().machine
    names = {python_name: name for name, python_name in wheels.MACHINES.items()}
    platform = Platform(architecture=names.get(machine, machine))
    runtime = Runtime(platform=platform, python=f"{sys.version_info.major}.{sys.version_info.minor}")
    unpack(package_files(runtime, find_lock()), runtime.python, Path(root))
    unpack(code_files(), runtime.python, Path(root))


if __name__ == "__main__":
    main(*sys.argv[1:])
