"""Pages that continue another page: what their readers have typed before."""

from tests.docs.blocks.block import Block
from tests.docs.blocks.script import Script, build_scripts

PAGE = "docs/knative.md"
CONTINUED = {"site": "eaves send --on knative", "revision": 'eaves deploy "$NEXT"'}
"""Name in `after` to a command: the reader has typed the blocks of `PAGE` up to the one with this command."""


def split_preparations(script: Script) -> tuple[list[str], list[Block]]:
    """The names that `prepare` knows, and the blocks of the earlier page that the others stand for."""
    names = [name for name in script.preparations if name not in CONTINUED]
    blocks: list[Block] = []
    for name in script.preparations:
        if name in CONTINUED:
            names.append("artifact")
            blocks = _blocks_until(CONTINUED[name])
    return names, blocks


def _blocks_until(command: str) -> list[Block]:
    (page,) = [one for one in build_scripts("cluster") if (one.page, one.name) == (PAGE, "")]
    last = next(number for number, block in enumerate(page.blocks) if command in block.text)
    return list(page.blocks[: last + 1])
