"""Mechanical rules of the house's prose, so that a docstring stands alone where an editor shows it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("eaves", "functions", "converters", "trainer", "knative", "bench", "examples", "docs")
OPEN = "eaves/cli/"
"""Folder whose texts are still to be revised, as those of the tests are."""
FRAGMENT = re.compile(r"(Of|As|By|Where|Whose|In which)\b")
"""First words of a text that hangs on the name above it."""
ARGUMENT = re.compile(r"^ +\**\w+: (.+)$", re.MULTILINE)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def list_files(*patterns: str) -> list[Path]:
    """The files of the repository that match, or those on disk where there is no git."""
    done = subprocess.run(["git", "ls-files", *patterns], capture_output=True, text=True, cwd=ROOT, check=False)
    names = done.stdout.split() if done.returncode == 0 else []
    found = [ROOT / name for name in names] or [path for one in patterns for path in ROOT.rglob(one)]
    return [path for path in found if path.is_file() and path != Path(__file__).resolve()]


def iter_texts(source: str) -> Iterator[str]:
    """Every docstring, text of an attribute, and description of an argument in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED):
            text = ast.get_docstring(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = node.value.value
        else:
            continue
        if text:
            yield text
            yield from ARGUMENT.findall(text)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_text_begins_as_a_fragment(folder: str) -> None:
    files = [path for path in list_files("*.py") if path.relative_to(ROOT).parts[0] == folder]
    files = [path for path in files if not path.relative_to(ROOT).as_posix().startswith(OPEN)]
    assert files
    found = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in files
        for text in iter_texts(path.read_text(encoding="utf-8"))
        if FRAGMENT.match(text)
    ]
    assert found == []


def test_a_fragment_is_found() -> None:
    source = 'def f(a):\n    """Do it.\n\n    Args:\n        a: Where it is.\n    """\nX = 1\n"""Of one image."""\n'
    assert {text for text in iter_texts(source) if FRAGMENT.match(text)} == {"Of one image.", "Where it is."}
