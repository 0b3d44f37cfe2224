"""The program files of a function in layers: byte code of the standard library, locked wheels, and Eaves' own code.

The Dockerfile makes the same files. Only the code that the container image's processes may import is included, so that
a change elsewhere in Eaves changes no layer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import eaves
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.errors import OciError, StandardLibraryError
from eaves.oci.descriptor import ImagePlatform
from eaves.oci.import_graph import reachable_modules
from eaves.oci.layers import bytecode, wheels
from eaves.oci.layers.bytecode import (
    LEFT_OUT,
    Compiler,
    compile_folder,
    compile_standard_library,
    find_compiler,
    find_standard_library,
    load_standard_library,
)
from eaves.oci.layers.image import Image
from eaves.oci.layers.layer import GLIBC, SMALL, Layer, LayerFile, kept_layer, write_layer
from eaves.oci.layout import ContentSource, Layout

PACKAGES = "opt/eaves"
CODE = "opt/code"
LIBRARY = "standard library"
"""Title of the layer with the standard library's byte code."""
LOCK = "serve.txt"
TOP_PACKAGES = ("eaves", "functions")
"""Eaves' top-level packages whose modules container images for the edge may include."""
PROCESSES = {
    "function": ("functions",),
    "agent": (
        "eaves.sources",
        "eaves.sources.queue",  # `eaves queue --on knative`, in the container of an agent
        "eaves.link.publisher",
        "eaves.link.relay",
        "eaves.link.receiver",
    ),
}
"""Name of a container image for the edge to the modules that are started in it by `python -m`."""
PLUGINS = {"agent": ("eaves.plugins.*",)}
"""Name of a container image to the modules that entry points name, which no import shows."""
OLDEST = (3, 11)
"""Oldest version of Python that Eaves' code runs on, as (major, minor)."""
ENVIRONMENT = {
    "PYTHONPATH": f"/{CODE}:/{PACKAGES}",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "OPENBLAS_NUM_THREADS": "1",
    **TELEMETRY_OFF,
    "HOME": "/tmp",  # noqa: S108 - in the container, where nothing else can be written
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeTarget:
    """The platform and Python that layers are built for.

    Attributes:
        platform: Platform of the container.
        python: Version of the container's Python, such as `3.13`.
        release: Version of the container's Python as its base image declares it, with the patch release if known, such
            as `3.13.5`.
    """

    platform: ImagePlatform
    python: str
    release: str = ""


def build_layers(
    runtime: RuntimeTarget, cache: Layout, say: Callable[[str], object] = lambda text: None
) -> list[Layer]:
    """Return the two layers with a function's wheels and code; layers in the cache aren't built again.

    Args:
        runtime: Platform and Python of the container.
        cache: Layout with layers that were made before, which also receives new ones.
        say: Function that is called with each line of progress.

    Raises:
        OciError: When wheels can't be fetched, or when this machine has no Python of the container's version to compile
            byte code.
    """
    compiler, lock, code = find_compiler(runtime.python), find_lock(), list(code_files())
    if runtime.release.count(".") == 2 and compiler.version != runtime.release:
        say(
            f"Python {compiler.version} compiles for the base image's {runtime.release}; with "
            "another release, the digest differs"
        )
    packing = Path(str(wheels.__file__)).read_bytes()
    compiling = (compiler.version, Path(str(bytecode.__file__)).read_bytes())
    sources = [part for file in code for part in (file.path, _bytes_of(file))]

    def make(title: str, files: Iterable[LayerFile], glibc: str = "") -> Layer:
        say(f"building the layer {title} for {runtime.platform}, Python {runtime.python}")
        with TemporaryDirectory(prefix="eaves-layer-") as folder:
            unpack(files, compiler, Path(folder))
            paths = (path for path in Path(folder).rglob("*") if path.is_file())
            made = (LayerFile(path=path.relative_to(folder).as_posix(), content=path) for path in paths)
            return write_layer(cache, made, title, level=SMALL, glibc=glibc)

    def make_packages() -> Layer:
        with TemporaryDirectory(prefix="eaves-wheels-") as folder:
            found = wheels.download(lock, runtime.platform, runtime.python, Path(folder))
            return make("packages", package_files(found), wheels.find_glibc(found))

    ours = f"eaves {eaves.__version__}"
    needed = (str(runtime.platform), lock.read_bytes(), packing)
    return [
        kept_layer(cache, (*compiling, *needed), make_packages),
        kept_layer(cache, (*compiling, *sources), lambda: make(ours, code)),
    ]


def build_library_layer(
    source: ContentSource,
    base: Image,
    runtime: RuntimeTarget,
    cache: Layout,
    say: Callable[[str], object] = lambda text: None,
) -> Layer | None:
    """Return the layer with byte code of the base's standard library, from the cache where it is there.

    Args:
        source: Source of the base.
        base: The base for the runtime's platform.
        runtime: Platform and Python of the container.
        cache: Layout with layers that were made before, which also receives the new one.
        say: Function that is called with each line of progress.

    Returns:
        The layer; None when the base's standard library can't be read or compiled. Without the layer, the function
        takes longer to start.

    Raises:
        OciError: When no interpreter here can compile for that Python, the base can't be fetched, or the disk is full.
    """
    compiler = find_compiler(runtime.python)

    def make() -> Layer:
        library, glibc = find_standard_library(source, base, runtime.python, say)
        return write_layer(cache, compile_standard_library(library, compiler), LIBRARY, level=SMALL, glibc=glibc)

    rules = Path(str(bytecode.__file__)).read_bytes()
    below = [layer.digest for layer in base.layers]
    try:
        return kept_layer(cache, (compiler.version, runtime.python, rules, *below), make)
    except StandardLibraryError as error:
        say(
            f"warning: {error.message}; the container image has no byte code of the standard library, so each cold "
            "start compiles it, and glibc is not checked"
        )
        return None


def check_glibc(platform: ImagePlatform, packages: Layer, library: Layer) -> None:
    """Check that the wheels run on the base's glibc, by the annotations of both layers.

    Raises:
        OciError: When the base's glibc is older, or when it has none, as Alpine Linux.
    """
    needed, found = (layer.descriptor.annotations.get(GLIBC, "") for layer in (packages, library))
    if not found or int(found.removeprefix("2.")) < int(needed.removeprefix("2.")):
        raise OciError(
            f"the base image for {platform} has {f'glibc {found}' if found else 'no glibc'}; the wheels of "
            f"{LOCK} need glibc {needed} or newer",
            hint="choose a base image of a newer Debian or Ubuntu, such as python:3.13-slim; Alpine Linux has no glibc",
        )


def unpack(files: Iterable[LayerFile], compiler: Compiler, root: Path) -> None:
    """Write files below a root and compile the Python sources.

    Raises:
        OciError: When the disk is full, or a file doesn't compile.
    """
    _write(files, root)
    compile_folder(compiler, root)


def _write(files: Iterable[LayerFile], root: Path) -> None:
    try:
        for file in files:
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_bytes_of(file))
    except OSError as error:
        raise OciError(
            f"{error.filename or root} can't be written: {error.strerror}",
            hint="free space on this disk, or set TMPDIR",
        ) from error


def package_files(found: Iterable[Path]) -> Iterator[LayerFile]:
    """Yield every file of wheels that a function may need."""
    for wheel in found:
        yield from wheels.wheel_files(wheel, PACKAGES)


def find_lock() -> Path:
    """Return the lock file of the edge's packages.

    It is beside this module in an installed wheel, and in requirements/ in the source tree.

    Raises:
        OciError: When the file is in neither place.
    """
    here = Path(__file__)
    for path in (here.with_name(LOCK), here.parents[2] / "requirements" / LOCK):
        if path.is_file():
            return path
    raise OciError(f"{LOCK}, the lock file of a function's packages, is missing", hint="install Eaves again")


def code_files(image: str = "function") -> Iterator[LayerFile]:
    """Yield the files of Eaves' own code that the processes of a container image may import.

    Args:
        image: Name of the container image, a key of `PROCESSES`.
    """
    root = Path(eaves.__file__).parents[1]
    for path in reachable_modules(root, TOP_PACKAGES, (*PROCESSES[image], *PLUGINS.get(image, ()))).values():
        yield LayerFile(path=f"{CODE}/{path.relative_to(root).as_posix()}", content=path)


def _bytes_of(file: LayerFile) -> bytes:
    return file.content if isinstance(file.content, bytes) else file.content.read_bytes()


def main(image: str, root: str) -> None:
    """Write the root of a container image for this machine and Python: `python -m eaves.oci.runtime IMAGE ROOT`.

    The Dockerfile runs this. A function's packages are included; the Dockerfile installs those of an agent.
    """
    machine = os.uname().machine
    names = {python_name: name for name, python_name in wheels.MACHINES.items()}
    platform = ImagePlatform(architecture=names.get(machine, machine))
    runtime = RuntimeTarget(platform=platform, python=f"{sys.version_info.major}.{sys.version_info.minor}")
    compiler, made = find_compiler(runtime.python), Path(root)
    library = load_standard_library(LEFT_OUT) if image == "agent" else load_standard_library()
    if image == "function":
        with TemporaryDirectory(prefix="eaves-wheels-") as folder:
            found = wheels.download(find_lock(), runtime.platform, runtime.python, Path(folder))
            unpack(package_files(found), compiler, made / "packages")
    unpack(code_files(image), compiler, made / "code")
    _write(compile_standard_library(library, compiler), made / "library")


if __name__ == "__main__":
    main(*sys.argv[1:])
