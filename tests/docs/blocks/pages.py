"""The pages whose blocks are run, and all their blocks."""

from functools import cache
from pathlib import Path

from tests.docs.blocks.block import Block, parse_blocks

ROOT = Path(__file__).parents[3]
NOT_FOR_TYPING = frozenset({"ARCHITECTURE.md", "CHANGELOG.md"})


def find_pages() -> list[Path]:
    """README.md, CONTRIBUTING.md, docs/ and the READMEs of the examples."""
    found = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")}
    return sorted(path for path in found if path.name not in NOT_FOR_TYPING)


@cache
def all_blocks() -> tuple[Block, ...]:
    """Every block of every page."""
    return tuple(
        block for page in find_pages() for block in parse_blocks(page.relative_to(ROOT).as_posix(), page.read_text())
    )
