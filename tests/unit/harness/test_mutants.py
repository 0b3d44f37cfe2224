"""Every mutant still has its place in the code, and the tests that are to notice it exist."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.mutants import ROOT, Mutant, load_mutants
from tests.mutants.__main__ import FAULTY, KILLED, STALE, SURVIVED, summarize

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


@pytest.mark.parametrize(
    ("outcomes", "code", "line"),
    [
        ({"a": KILLED, "b": KILLED}, 0, "2 killed"),
        ({"a": KILLED, "b": SURVIVED}, 1, "1 survived: b"),
        ({"a": STALE, "b": STALE}, 1, "2 stale: a, b"),
        ({"a": KILLED, "b": FAULTY}, 1, "1 faulty: b"),
        ({}, 1, "0 killed"),
    ],
)
def test_only_mutants_that_are_all_killed_are_a_success(outcomes: dict[str, str], code: int, line: str) -> None:
    text, found = summarize(outcomes)
    assert found == code
    assert line in text.splitlines()
