"""Every cause that a diagnosis may name, and every check of the doctor, is in the documentation."""

import re
from pathlib import Path

from knative.doctor.runner import CHECKS, name_of
from knative.status.conditions import CAUSES

DOCS = Path(__file__).parents[2] / "docs"


def read() -> str:
    return "\n".join(page.read_text() for page in DOCS.glob("*.md") if page.name != "reference.md")


def test_every_cause_is_explained():
    text = read()
    assert [cause for cause in CAUSES if f"`{cause}`" not in text] == []


def test_every_check_is_explained():
    cells = {name for row in re.findall(r"^\| ([a-z, -]+) \|", read(), re.MULTILINE) for name in row.split(", ")}
    assert [name for name in map(name_of, CHECKS) if name not in cells] == []
