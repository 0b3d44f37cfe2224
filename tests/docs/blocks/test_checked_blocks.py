"""The YAML and JSON that readers copy is what Eaves reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import ConfigError
from tests.docs.blocks.block import Block, parse_blocks
from tests.docs.blocks.checks import CHECKS, check_of
from tests.docs.blocks.pages import all_blocks

BLOCKS = [block for block in all_blocks() if block.language in {"yaml", "json"}]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_valid(block: Block, tmp_path: Path) -> None:
    assert check_of(block) in CHECKS, block
    CHECKS[check_of(block)](block, tmp_path)


def test_a_setting_that_does_not_exist_is_found(tmp_path: Path) -> None:
    (block,) = parse_blocks("page.md", "```yaml\ntrain:\n  epoch: 3\n```\n")
    with pytest.raises(ConfigError, match="epoch"):
        CHECKS[check_of(block)](block, tmp_path)
