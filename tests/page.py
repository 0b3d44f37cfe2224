"""A page, read back as a browser would."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that every tag is closed; keeps tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        self.pieces.append(data)

    @property
    def words(self) -> str:
        """The text in one line, cells and paragraphs apart by a space."""
        return " ".join(" ".join(self.pieces).split())


def assert_self_contained(html: str) -> None:
    """Every tag is closed, nothing runs, nothing is asked of a network, and no number is missing."""
    page = Page(html)
    assert not re.search(r"https?://|url\(|@import", html)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all((attrs["src"] or "").startswith("data:image/jpeg;base64,") for _, attrs in page.tags if "src" in attrs)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "nan" not in re.sub(r"data:\S+", "", html).lower()
