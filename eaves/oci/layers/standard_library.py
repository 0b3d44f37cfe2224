"""Byte code of the standard library's modules that a container imports when it starts.

The official container images of Python contain no byte code, and a container with a read-only root can't keep any, so
each start would compile about 150 modules. The sources are the base's own, because byte code is never checked against
its source: byte code of another release would undo the base's fixes.

Source: docker-library/python, whose Dockerfiles remove every `*.pyc` below /usr/local.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eaves.errors import OciError, StandardLibraryError
from eaves.oci.import_graph import find_module_level_imports, find_named_modules
from eaves.oci.layers.bytecode import Compiler, compile_folder
from eaves.oci.layers.layer import LayerFile
from eaves.oci.signal_handling import scratch_folder

STARTS_WITH = frozenset({
    "site", "sitecustomize", "runpy", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8",
})  # fmt: skip
"""Modules that the interpreter itself imports, with the text encodings of host names and HTTP headers."""
LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "ensurepip", "lib2to3"})
"""Folders of the standard library that no container of Eaves imports from."""
_BUILD_SETTINGS = "_sysconfigdata_"
"""Prefix of the module that `sysconfig` imports under a name that depends on the platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardLibrary:
    """The standard library of one Python installation.

    Attributes:
        root: Folder relative to the container's root, such as `usr/local/lib/python3.13`.
        sources: Source of each module by its path below the folder.
    """

    root: str
    sources: Mapping[str, bytes]


def load_standard_library() -> StandardLibrary:
    """Read the standard library of the interpreter that runs this."""
    root = Path(sysconfig.get_path("stdlib")).resolve()
    paths = [path for path in root.rglob("*.py") if not LEFT_OUT & {*path.relative_to(root).parts}]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]  # a link's target may be configuration
    sources = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return StandardLibrary(root=root.as_posix().removeprefix("/"), sources=sources)


def compile_standard_library(
    library: StandardLibrary, compiler: Compiler, code: Iterable[bytes], packages: Mapping[str, bytes]
) -> list[LayerFile]:
    """Compile the modules that processes import from the standard library.

    A base that has byte code already gets it anew, so that the interpreter doesn't check it against its source either.

    Args:
        library: The base's standard library.
        compiler: Interpreter of the same minor version.
        code: Sources of the processes' own modules, whose imports count wherever they are.
        packages: Source of each module of the installed packages by its path, such as `numpy/__init__.py`.

    Returns:
        The files of byte code, without the sources.

    Raises:
        StandardLibraryError: When a module can't be parsed or doesn't compile.
    """
    roots = {name for source in code for name in find_named_modules(source)}
    wanted = find_modules(library, roots, packages)
    with scratch_folder("eaves-library-") as folder:
        for path in wanted:
            target = folder / library.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(library.sources[path])
        try:
            compile_folder(compiler, folder)
        except OciError as error:
            raise StandardLibraryError(f"the base's standard library can't be compiled: {error.message}") from error
        return [
            LayerFile(path=path.relative_to(folder).as_posix(), content=path.read_bytes())
            for path in folder.rglob("*.pyc")
        ]


def find_modules(library: StandardLibrary, roots: Iterable[str], packages: Mapping[str, bytes]) -> set[str]:
    """Return the paths of the standard library's modules that are imported at once when these names are imported.

    Imports within functions of the standard library or of a package don't count.

    Args:
        library: The standard library.
        roots: Names of modules, or of values in them.
        packages: Source of each module of the installed packages by its path.

    Raises:
        StandardLibraryError: When a module is nested too deeply to be parsed.
    """
    sources = {**packages, **library.sources}
    modules = {_name_of(path): path for path in sources}
    waiting = [*STARTS_WITH, *roots]
    found: set[str] = set()
    while waiting:
        for name in _with_parents(waiting.pop()):
            path = modules.get(name)
            if path is None or path in found:
                continue
            found.add(path)
            package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
            try:
                waiting.extend(find_module_level_imports(sources[path], package=package))
            except (RecursionError, MemoryError) as error:
                raise StandardLibraryError(f"the base's {path} can't be parsed: it is nested too deeply") from error
            if name == "sysconfig":
                waiting.extend(other for other in modules if other.startswith(_BUILD_SETTINGS))
    return found & library.sources.keys()


def _name_of(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")


def _with_parents(name: str) -> Iterator[str]:
    """Yield a name and the names of its parent packages, which an import runs first."""
    while name:
        yield name
        name = name.rpartition(".")[0]
