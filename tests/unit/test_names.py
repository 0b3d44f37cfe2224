"""No public class name occurs twice in the shipped packages, so that a name is enough to find its class."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("eaves", "functions", "converters", "trainer", "knative")


def test_no_public_class_name_occurs_twice():
    files_by_class: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for statement in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
                    files_by_class[statement.name].append(path.relative_to(ROOT).as_posix())
    assert len(files_by_class) > 300, "the packages were not found"
    repeated = {name: files for name, files in files_by_class.items() if len(files) > 1}
    assert not repeated, f"rename all but one of each: {repeated}"
