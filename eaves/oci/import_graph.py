"""Search for the modules of Eaves that a process may import, in the source files and without importing any.

An import counts wherever it is, also in a function's body, where heavy modules are imported late, but not below `if
TYPE_CHECKING`. A module whose name is in a string counts as well (`import_module("functions.routes")`, the table of
kinds of sources, `python -m`); of a package, its `__main__` too.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from eaves.errors import OciError

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+(?=(?::\w+)?\Z)", re.ASCII)
"""Pattern of a string that may name a module: a dotted name, with or without `:ATTRIBUTE`."""


def reachable_modules(root: Path, rooms: Iterable[str], entries: Iterable[str]) -> dict[str, Path]:
    """Return name and file of each module that processes may import, with its parent packages, sorted by name.

    Args:
        root: Folder that contains the packages.
        rooms: Top-level packages of Eaves, such as `eaves`.
        entries: Modules that the processes are started with, as `python -m` takes them; `NAME.*` for all of a package.

    Raises:
        OciError: When a module in `entries` doesn't exist.
    """
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    names = {path: path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in files}
    modules = {name.removesuffix(".__init__"): path for path, name in names.items()}
    started = {name for entry in entries for name in fnmatch.filter(modules, entry) or [entry]}
    missing = sorted(started - modules.keys())
    if missing:
        raise OciError(f"the module {missing[0]} is missing from {root}", hint="install Eaves again")
    waiting = [name for entry in started for name in (entry, f"{entry}.__main__")]
    found: set[str] = set()
    while waiting:
        parts = waiting.pop().split(".")
        for count in range(1, len(parts) + 1):  # Python imports the parent packages first
            name = ".".join(parts[:count])
            if name in modules and name not in found:
                found.add(name)
                waiting.extend(find_named_modules(modules[name].read_bytes()))
    return {name: modules[name] for name in sorted(found)}


def find_named_modules(source: bytes) -> Iterator[str]:
    """Yield the dotted names in a source that may name modules: those of imports and in strings.

    Relative imports are left out.
    """
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If() if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                waiting.extend(node.orelse)
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(base), level=0, names=names):
                # a module's name or a value's, which is checked later
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if found := _NAME.match(text):
                yield found[0]
                yield f"{found[0]}.__main__"  # `python -m` runs this module of a package
        waiting.extend(ast.iter_child_nodes(node))
