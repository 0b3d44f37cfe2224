"""docs/reference.md says what the code says: every command, setting and error."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_fresh(reference: ModuleType):
    written = (ROOT / "docs/reference.md").read_text()
    assert written == reference.build_reference(), "run: python docs/reference.py > docs/reference.md"


def test_every_variable_that_the_code_names_is_in_the_table(reference: ModuleType):
    """Those that click options, constants and messages spell out, too."""
    known = set(reference.list_variables())
    found = {
        name
        for room in ("eaves", "functions", "knative", "trainer", "converters")
        for path in (ROOT / room).rglob("*.py")
        for name in re.findall(r"\bEAVES_[A-Z0-9_]*[A-Z0-9]", path.read_text())
    }
    not_variables = {"EAVES_E2E", "EAVES_BENCH", "EAVES_WRITE_GOLDEN"}
    assert found - known - not_variables == set()
