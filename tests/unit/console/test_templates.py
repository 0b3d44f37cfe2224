"""Rules for templates and views that keep foreign text from becoming code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eaves.console

ROOM = Path(eaves.console.__file__).parent
TEMPLATES = sorted((ROOM / "templates").rglob("*.*"))
SCRIPTS = sorted((ROOM / "static").glob("*.js"))
BANNED = {
    r"\|\s*safe\b": "foreign text must be escaped",
    r"\bautoescape\b": "every template is escaped",
    r"Markup|render_template_string": "templates build HTML",
    r"\bstyle\s*=": "the policy forbids styles in attributes",
    r"<style": "the policy forbids styles in pages",
    r"\son[a-z]+\s*=(?!=)": "the policy forbids handlers in attributes",
    r"hx-on|js:|javascript:": "the policy forbids code in attributes",
    r"hx-trigger\s*=\s*\"[^\"]*\[": "a filter of a trigger is code, which the policy forbids",
    r"<script(?![^>]*\ssrc=)": "scripts are files",
    r"(src|href|action)=\"(https?:)?//": "a page loads nothing from elsewhere",
    r"\s[\w:-]+=\{\{": "an attribute with foreign text needs quotes",
}
"""What no template contains, with the reason."""


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOM)) for path in paths]


@pytest.mark.parametrize("name", names(TEMPLATES))
def test_a_template_holds_nothing_that_could_execute(name: str) -> None:
    text = re.sub(r"\{#.*?#\}", "", (ROOM / name).read_text(), flags=re.DOTALL)
    assert [f"{pattern}: {reason}" for pattern, reason in BANNED.items() if re.search(pattern, text)] == []


@pytest.mark.parametrize("name", names(TEMPLATES))
def test_flask_escapes_every_template(name: str) -> None:
    assert name.endswith(".html"), "Flask escapes by the ending of the file's name"


@pytest.mark.parametrize("name", names(TEMPLATES))
def test_every_form_that_changes_something_has_its_token(name: str) -> None:
    for form in re.findall(
        r"<form[^>]*method=\"post\".*?</form>", (ROOM / name).read_text(), re.DOTALL | re.IGNORECASE
    ):
        assert re.search(r"csrf", form), f"{name}: {form[:80]}"


@pytest.mark.parametrize("name", names(TEMPLATES))
def test_a_page_that_asks_by_itself_says_so(name: str) -> None:
    """Otherwise the session of a page that nobody looks at would never end."""
    for element in re.findall(r"<[^>]*hx-trigger=\"every[^>]*>", (ROOM / name).read_text()):
        assert """hx-headers='{"X-Background": "1"}'""" in element


@pytest.mark.parametrize("name", names(SCRIPTS))
def test_a_script_makes_no_code_and_no_html_of_text(name: str) -> None:
    text = (ROOM / name).read_text()
    assert not re.search(r"\beval\(|new Function|(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write", text)


def test_html_is_built_by_templates_only() -> None:
    found = [path for path in ROOM.rglob("*.py") if re.search(r"\bMarkup\(|render_template_string", path.read_text())]
    assert names(found) == ["security/guard.py"], "the form field is the only HTML in Python"
