"""Which modules of ours a process may import, read from the sources without importing any of them.

An import counts wherever it stands: in a function's body too, which is how heavy modules are loaded late. A module that
a text names counts as well (`import_module("functions.http.app")`, the table of kinds of sources, `python -m`). What
only type checkers read, below `if TYPE_CHECKING`, does not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from eaves.errors import OciError

_NAME = re.compile(r"[a-z_]\w*(?:\.\w+)+(?=(?::\w+)?\Z)", re.ASCII)
"""A dotted name that is a whole text, with or without an attribute after a colon."""


def reachable_modules(root: Path, rooms: Iterable[str], entries: Iterable[str]) -> dict[str, Path]:
    """Name and file of each module that processes may import, with the packages that these are in; sorted by name.

    Args:
        root: The folder that holds the rooms.
        rooms: Top-level packages that are ours, such as `eaves`.
        entries: What the processes are started with, as `python -m` takes it.

    Raises:
        OciError: When an entry isn't there.
    """
    modules = _modules_of(root, rooms)
    missing = sorted(set(entries) - modules.keys())
    if missing:
        raise OciError(f"{root} has no module {missing[0]}", hint="install Eaves again")
    waiting = [name for entry in entries for name in (entry, f"{entry}.__main__")]
    found: set[str] = set()
    while waiting:
        for name in _with_parents(waiting.pop()):
            if name in modules and name not in found:
                found.add(name)
                waiting.extend(_names_in(modules[name]))
    return {name: modules[name] for name in sorted(found)}


def _modules_of(root: Path, rooms: Iterable[str]) -> Mapping[str, Path]:
    """Every module below a folder by its name; a package's name stands for its `__init__.py`."""
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    names = {path: path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def _with_parents(name: str) -> list[str]:
    """A name and those of the packages that it is in: an import runs these first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _names_in(path: Path) -> Iterator[str]:
    """The names in a source that may be modules."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes(), str(path))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        yield from _named_by(node)
        waiting.extend(ast.iter_child_nodes(node))


def _named_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):  # whether `name` is a module or a value is seen later
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.Constant(value=str(text)) if match := _NAME.match(text):
            yield match[0]
