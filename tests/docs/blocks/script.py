"""The blocks of one page that run in one folder, in order; the suites' one table."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.docs.blocks.block import Block
from tests.docs.blocks.pages import all_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script of a page.

    Attributes:
        page: The page's path from the repository's root.
        suite: Which suite runs it.
        name: Its name within page and suite; often empty.
        blocks: Commands, files that they need, and what they print, in the page's order.
    """

    page: str
    suite: str
    name: str
    blocks: tuple[Block, ...]

    @property
    def preparations(self) -> tuple[str, ...]:
        """Names of the preparations that are made before the first block."""
        return _listed(self.blocks, "after")

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be installed for it."""
        return _listed(self.blocks, "needs")

    def __str__(self) -> str:
        return f"{self.page}[{self.name}]" if self.name else self.page


def _listed(blocks: Iterable[Block], key: str) -> tuple[str, ...]:
    parts = (part.strip() for block in blocks for part in block.marks.get(key, "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def build_scripts(suite: str, blocks: Iterable[Block] | None = None) -> list[Script]:
    """The scripts of a suite, in the order of pages; of all pages unless `blocks` are given."""
    found = all_blocks() if blocks is None else tuple(blocks)
    names = dict.fromkeys((block.page, block.script) for block in found if runs_in(block) == suite)
    scripts = []
    for page, name in names:
        of_script = [block for block in found if (block.page, block.script) == (page, name)]
        kept = tuple(block for block in of_script if runs_in(block) in {suite, None} and _takes_part(block))
        scripts.append(Script(page=page, suite=suite, name=name, blocks=_without_orphans(kept, of_script)))
    return scripts


def runs_in(block: Block) -> str | None:
    """The suite that a block of commands runs in; None when it is no command."""
    return block.marks.get("runs", "local") if block.is_command else None


def _takes_part(block: Block) -> bool:
    return block.is_command or bool({"file", "merge", "printed"} & set(block.marks))


def _without_orphans(kept: tuple[Block, ...], of_script: list[Block]) -> tuple[Block, ...]:
    """Leave out the output of commands that run in another suite."""
    outputs = set()
    command: Block | None = None
    for block in of_script:
        if block.is_command:
            command = block
        elif "printed" in block.marks and command not in kept:
            outputs.add(block.line)
    return tuple(block for block in kept if block.line not in outputs)
