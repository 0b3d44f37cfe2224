"""docs/README.md lists every page; docs/glossary.md has the words that newcomers asked for, in order."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
GLOSSARY = (DOCS / "glossary.md").read_text()


def list_terms() -> list[list[str]]:
    """The first column of each table of the glossary."""
    tables = re.split(r"^## ", GLOSSARY, flags=re.MULTILINE)[1:]
    return [re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE)[1:] for table in tables]


def test_terms_are_in_order_and_of_the_field_first():
    field, ours, code = list_terms()
    for terms in (field, ours, code):
        assert terms == sorted(terms, key=str.lower)
    assert len({*field, *ours, *code}) == len(field) + len(ours) + len(code)  # one word has one meaning
    assert len(field) > len(ours)


def test_the_index_has_every_page_once_or_more():
    index = (DOCS / "README.md").read_text()
    linked = set(re.findall(r"\]\(([a-z0-9-]+\.md)[#)]", index))
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} == linked


def test_links_between_pages_lead_somewhere():
    """The anchors of the pages that people read first, too."""
    first = (DOCS / "README.md", DOCS / "factory.md", DOCS.parent / "README.md")
    for page in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", page.read_text()):
            found = (page.parent / target).resolve()
            assert found.exists(), (page.name, target)
            if anchor and page in first:
                headings = re.findall(r"^#+ (.*)$", found.read_text(), flags=re.MULTILINE)
                slugs = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in slugs, (page.name, target, anchor)
