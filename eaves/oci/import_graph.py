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
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_for_type_checkers(node):
            waiting.extend(node.orelse)
            continue
        yield from _named_by(node)
        waiting.extend(ast.iter_child_nodes(node))


def find_module_level_imports(source: bytes, *, package: str) -> Iterator[str]:
    """Yield the names that are imported when a module is imported, without those in functions and below `__main__`.

    Args:
        source: Source of the module; one that doesn't parse, such as a template, imports nothing.
        package: Name of its package, which relative imports start from; empty to leave those out.
    """
    try:
        waiting: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If() if _is_for_type_checkers(node) or "__name__" in ast.unparse(node.test):
                waiting.extend(node.orelse)
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(names=names) if base := _base_of(node, package):
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
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


def _named_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):  # whether `name` is a module or a value is checked later
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.Constant(value=str(text)) if match := _NAME.match(text):
            yield match[0]
            yield f"{match[0]}.__main__"  # `python -m` runs this module of a package
