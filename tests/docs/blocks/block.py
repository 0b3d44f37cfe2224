"""Fenced blocks of Markdown, with the comment above each."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SHELLS = frozenset({"bash", "sh", "console"})
LANGUAGES = frozenset({*SHELLS, "dockerfile", "http", "ini", "json", "python", "text", "toml", "yaml"})
KEYS = frozenset(
    ("after", "checked", "fails", "file", "merge", "needs", "printed", "runs", "script", "simulated", "terminal")
) | {"values"}
FENCE = re.compile(r"( *)(```+|~~~+)\s*(.*)")
COMMENT = re.compile(r"\s*<!--\s*(.*?)\s*-->\s*")
PROMPT = "$ "
"""Begins a command in a block of `console`; its other lines are output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        page: The page's path from the repository's root.
        line: Line number of its first line, as an editor counts.
        language: The word after the fence; empty when there is none.
        text: Its lines, without the indentation of a list.
        marks: Keys and values of the comment above it; see the package.
    """

    page: str
    line: int
    language: str
    text: str
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_command(self) -> bool:
        """Whether it is run rather than shown."""
        return self.language in SHELLS

    @property
    def script(self) -> str:
        """Name of its script within the page and suite."""
        return self.marks.get("script", "")

    @property
    def commands(self) -> str:
        """The text that bash runs: of a console, the lines behind a prompt."""
        if self.language != "console":
            return self.text
        return "".join(
            f"{line.removeprefix(PROMPT)}\n" for line in self.text.splitlines() if line.startswith((PROMPT, "> "))
        )

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def parse_blocks(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: When a comment above a block isn't in the form that the package describes, or a fence has no end.
    """
    return list(_blocks(page, text.splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        opened = FENCE.fullmatch(lines[number])
        if opened is None:
            number += 1
            continue
        indent, fence, language = opened.groups()
        end = next((at for at in range(number + 1, len(lines)) if lines[at].strip() == fence), None)
        if end is None:
            raise ValueError(f"{page}:{number + 1}: the block has no end")
        inner = [line.removeprefix(indent) for line in lines[number + 1 : end]]
        yield Block(
            page=page,
            line=number + 2,
            language=language.strip(),
            text=textwrap.dedent("".join(f"{line}\n" for line in inner)),
            marks=_marks(f"{page}:{number + 1}", lines[number - 1] if number else ""),
        )
        number = end + 1


def _marks(where: str, line: str) -> dict[str, str]:
    comment = COMMENT.fullmatch(line)
    if comment is None:
        return {}
    marks = {}
    for part in comment[1].split(";"):
        key, _, value = part.partition(":")
        if key.strip() not in KEYS:
            raise ValueError(f"{where}: no such key in the comment above a block: {key.strip()!r}")
        marks[key.strip()] = value.strip()
    return marks
