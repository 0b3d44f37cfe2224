"""Search for the modules of Eaves that a process may import, in the source files and without importing any.

An import counts wherever it is, also in a function's body, where heavy modules are imported late. A module whose name
is in a string counts as well (`import_module("functions.http.app")`, the table of kinds of sources, `python -m`); of a
package, its `__main__` too.
Imports below `if TYPE_CHECKING` don't count, because only type checkers read them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from eaves.errors import OciError

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+(?=(?::\w+)?\Z)", re.ASCII)
"""Pattern of a string that may name a module: a dotted name, with or without `:ATTRIBUTE`."""


def reachable_modules(root: Path, rooms: Iterable[str], entries: Iterable[str]) -> dict[str, Path]:
    """Return name and file of each module that processes may import, with its parent packages, sorted by name.

    Args:
        root: Folder that contains the packages.
        rooms: Top-level packages of Eaves, such as `eaves`.
        entries: Modules that the processes are started with, as `python -m` takes them.

    Raises:
        OciError: When a module in `entries` doesn't exist.
    """
    modules = _modules_of(root, rooms)
    missing = sorted(set(entries) - modules.keys())
    if missing:
        raise OciError(f"the module {missing[0]} is missing from {root}", hint="install Eaves again")
    waiting = [name for entry in entries for name in (entry, f"{entry}.__main__")]
    found: set[str] = set()
    while waiting:
        for name in with_parents(waiting.pop()):
            if name in modules and name not in found:
                found.add(name)
                waiting.extend(find_named_modules(modules[name].read_bytes()))
    return {name: modules[name] for name in sorted(found)}


def _modules_of(root: Path, rooms: Iterable[str]) -> Mapping[str, Path]:
    """Return name and file of every module in the packages below a folder; a package's file is its `__init__.py`."""
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    names = {path: path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def with_parents(name: str) -> list[str]:
    """Return the name of a module and those of its parent packages, which Python imports first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def find_named_modules(source: bytes) -> Iterator[str]:
    """Yield the dotted names in a source that may name modules: those of imports and in strings.

    Relative imports are left out.
    """
    return _find_names(ast.parse(source), package="", late=True)


def find_module_level_imports(source: bytes, *, package: str) -> Iterator[str]:
    """Yield the names that are imported when a module is imported, without those in functions and below `__main__`.

    Args:
        source: Source of the module; one that doesn't parse, such as a template, imports nothing.
        package: Name of its package, which relative imports start from; empty to leave those out.
    """
    try:
        yield from _find_names(ast.parse(source), package=package, late=False)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _find_names(tree: ast.AST, *, package: str, late: bool) -> Iterator[str]:
    """Yield the names in a module's imports; with `late` also those in functions, below `__main__` and in strings."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If() if _is_for_type_checkers(node) or (not late and "__name__" in ast.unparse(node.test)):
                waiting.extend(node.orelse)
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if not late:
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(names=names) if base := _base_of(node, package):
                yield from (
                    f"{base}.{alias.name}" for alias in names
                )  # a module's or a value's, which is checked later
            case ast.Constant(value=str(text)) if late and (found := _NAME.match(text)):
                yield found[0]
                yield f"{found[0]}.__main__"  # `python -m` runs this module of a package
        waiting.extend(ast.iter_child_nodes(node))


def _base_of(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name that `from ... import` takes names of; empty when it isn't known."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])]) if kept else ""


def _is_for_type_checkers(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
