"""Which modules are found from the sources of a few, and which aren't."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from eaves.oci.runtime import reachable_modules


def modules_of(root: Path, sources: Mapping[str, str], *entries: str) -> list[str]:
    """The names that are reached in a tree of these sources, by path."""
    for name, text in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(reachable_modules(root, ("ours", "theirs"), entries or ("ours",)))


def test_an_import_counts_wherever_it_stands(tmp_path: Path) -> None:
    sources = {
        "ours/__init__.py": "import ours.at_once as other",
        "ours/at_once.py": "def run():\n    def inner():\n        from ours.late import VALUE\n",
        "ours/late.py": "try:\n    import os, ours.attempted\nexcept ImportError:\n    pass\nVALUE = 1\n",
        "ours/attempted.py": "class Kept:\n    from ours import in_a_class\n",
        "ours/in_a_class.py": "",
        "ours/nobodys.py": "",
    }
    assert modules_of(tmp_path, sources) == [
        "ours", "ours.at_once", "ours.attempted", "ours.in_a_class", "ours.late"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["theirs.kind", "theirs.kind:KIND"])
def test_a_module_that_a_text_names_is_imported_by_it(tmp_path: Path, text: str) -> None:
    sources = {
        "ours/__init__.py": f"def load():\n    return TABLE['it']\n\nTABLE = {{'it': {text!r}}}\n",
        "theirs/__init__.py": "",
        "theirs/kind.py": "",
        "theirs/other.py": "",
    }
    assert modules_of(tmp_path, sources) == ["ours", "theirs", "theirs.kind"]
