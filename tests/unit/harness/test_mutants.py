"""Every mutant still has its place in the code, and the tests that are to notice it exist."""

import ast
from collections.abc import Iterator
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


def find_faults(mutant: Mutant) -> Iterator[str]:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutant.apply(text)
    if changed is None or changed == text:
        yield f"{mutant.name}: move it with its code, or delete it with its code"
    if mutant.file.endswith(".py"):
        compile(changed or "", mutant.file, "exec")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        if not (name in find_tests(file) if name else find_tests(file)):
            yield f"{mutant.name}: there is no {test}"


@pytest.mark.long("pytest runs in a copy of the project")
def test_each_mutant_changes_one_place_that_exists_and_has_tests():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 0
    assert not [fault for mutant in MUTANTS for fault in find_faults(mutant)]
    assert not [mutant.name for mutant in MUTANTS if not mutant.tests]


def test_a_pattern_that_occurs_twice_or_never_changes_nothing():
    mutant = Mutant(name="n", breaks="b", file="f", pattern="x", replacement="y", tests=())
    assert [mutant.apply(text) for text in ("axb", "axbx", "ab")] == ["ayb", None, None]


@pytest.mark.parametrize(
    ("outcomes", "code", "line"),
    [
        ({"a": KILLED, "b": KILLED}, 0, "2 killed"),
        ({"a": KILLED, "b": SURVIVED}, 1, "1 survived: b"),
        ({"a": STALE, "b": FAULTY}, 1, "1 stale: a"),
        ({}, 1, "0 killed"),
    ],
)
def test_only_mutants_that_are_all_killed_are_a_success(outcomes: dict[str, str], code: int, line: str):
    text, found = summarize(outcomes)
    assert found == code
    assert line in text.splitlines()
