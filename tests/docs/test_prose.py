"""Mechanical rules of the house's prose, so that a docstring stands alone where an editor shows it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.processes.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("eaves", "functions", "converters", "trainer", "knative", "bench", "examples", "docs", "tests")
FRAGMENT = re.compile(r"(Of|As|By|Where|Whose|In which)\b")
"""First words of a text that hangs on the name above it."""
MAYBE = re.compile(rf'("""|: )\s*{FRAGMENT.pattern}')
"""What a file has that may have such a text; others aren't parsed, which takes long."""
ARGUMENT = re.compile(r"^ +\**\w+: (.+)$", re.MULTILINE)
BANNED = re.compile(r"\b(told|mends|whoever|goes\s+on)\b", re.IGNORECASE)
"""Words that are not used; the plain ones are: reported, repairs, everybody who, continues."""
SUFFIXES = ("py", "md", "yaml", "yml", "toml", "j2", "html", "sh", "txt")
TEXT_FILES = (*(f"*.{suffix}" for suffix in SUFFIXES), "*Makefile", "*Dockerfile", ".ci/run")
QUOTED = {"tests/unit/cli/test_help.py": ("BANNED = re.compile(",)}
"""Path of a file to the beginnings of its lines that may quote the words: other programs' messages, and this list."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def list_files(*patterns: str) -> list[Path]:
    """The files of the repository that match, or those on disk where there is no git."""
    done = run_command(["git", "ls-files", *patterns], cwd=ROOT)
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


def test_no_text_begins_as_a_fragment():
    files = [path for path in list_files("*.py") if path.relative_to(ROOT).parts[0] in FOLDERS]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in files
        if MAYBE.search(source := path.read_text(encoding="utf-8"))
        for text in iter_texts(source)
        if FRAGMENT.match(text)
    ]
    assert found == []


def find_banned(path: str, text: str) -> list[str]:
    """Return place and line of each banned word in a file, except in lines that may quote it."""
    kept = "\n".join("" if line.lstrip().startswith(QUOTED.get(path, ("\n",))) else line for line in text.split("\n"))
    numbers = [kept.count("\n", 0, found.start()) for found in BANNED.finditer(kept)]
    return [f"{path}:{number + 1}: {text.splitlines()[number].strip()}" for number in numbers]


def test_banned_words_stand_nowhere():
    ours = (*FOLDERS, ".ci")
    files = {path.relative_to(ROOT) for path in list_files(*TEXT_FILES)}
    files = {path for path in files if len(path.parts) == 1 or path.parts[0] in ours}
    assert {Path("README.md"), Path("Makefile"), Path("Dockerfile"), Path("eaves/errors.py")} <= files
    found = [line for path in sorted(files) for line in find_banned(path.as_posix(), (ROOT / path).read_text("utf-8"))]
    assert found == []
