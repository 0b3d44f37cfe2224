"""Rules for templates and views that keep foreign text from becoming code; numbers and times in words."""

import re
from pathlib import Path

import pytest

import eaves.console
from eaves.console import words

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


def read(path: Path) -> str:
    """A template without its comments."""
    return re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)


def test_no_template_holds_what_could_execute():
    found = [
        f"{path.name}: {pattern}: {reason}"
        for path in TEMPLATES
        for pattern, reason in BANNED.items()
        if re.search(pattern, read(path))
    ]
    assert found == []
    assert [path.name for path in TEMPLATES if path.suffix != ".html"] == [], "Flask escapes by the name's ending"


def test_every_form_that_changes_something_has_its_token():
    forms = [
        form for path in TEMPLATES for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", read(path), re.DOTALL)
    ]
    assert [one[:80] for one in forms if "csrf" not in one] == []
    assert len(forms) == 15


def test_scripts_and_views_make_no_code_and_no_html_of_text():
    code = r"\beval\(|new Function|(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write"
    assert [path.name for path in SCRIPTS if re.search(code, path.read_text())] == []
    found = [path for path in ROOM.rglob("*.py") if re.search(r"\bMarkup\(|render_template_string", path.read_text())]
    assert [path.name for path in found] == ["guard.py"], "the form field is the only HTML in Python"


SCRIPT = Path(eaves.console.__file__).with_name("static") / "console.js"


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100%"), (0.9999, "99.9%"), (0.914, "91%"), (0.00001, "0.1%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_certainty(share: float, text: str):
    assert words.describe_share(share) == text


def test_a_time_out_of_range_is_no_error():
    assert words.format_utc(1e20) == ""
    assert words.format_time(1e20, 0.0) == "at an unknown time"


def test_the_script_counts_with_the_same_units():
    text = SCRIPT.read_text()
    (table,) = re.findall(r"UNITS = (\[.+?\]);", text)
    assert table == str([[size, unit] for size, unit in words.UNITS]).replace("'", '"')
    assert f'seconds < {words.NOW_S} ? "just now"' in text
