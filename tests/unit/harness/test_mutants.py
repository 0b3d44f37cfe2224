"""Every mutant still has its place in the code, and the tests that are to notice it exist."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.mutants import ROOT, Mutant, load_mutants

MUTANTS = load_mutants()


@cache
def find_tests(file: str) -> frozenset[str]:
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 0


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_that_exists_and_has_tests(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.pattern) == 1, "move the mutant with its code, or delete it with its code"
    changed = mutant.apply(text)
    assert changed != text
    compile(changed or "", mutant.file, "exec")
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert name in find_tests(file) if name else find_tests(file), f"there is no {test}"


def test_a_pattern_that_occurs_twice_or_never_changes_nothing() -> None:
    mutant = Mutant(name="n", breaks="b", file="f", pattern="x", replacement="y", tests=())
    assert [mutant.apply(text) for text in ("axb", "axbx", "ab")] == ["ayb", None, None]
