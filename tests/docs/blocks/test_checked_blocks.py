"""The YAML and JSON that readers copy is what Eaves reads."""

from pathlib import Path

import pytest

from eaves.errors import ConfigError
from tests.docs.blocks.block import parse_blocks
from tests.docs.blocks.checks import CHECKS, check_of
from tests.docs.blocks.pages import all_blocks


def test_every_block_is_valid(tmp_path: Path):
    for block in all_blocks():
        if block.language in {"yaml", "json"}:
            assert check_of(block) in CHECKS, block
            try:
                CHECKS[check_of(block)](block, tmp_path)
            except Exception as error:
                error.add_note(str(block))
                raise


def test_a_setting_that_does_not_exist_is_found(tmp_path: Path):
    (block,) = parse_blocks("page.md", "```yaml\ntrain:\n  epoch: 3\n```\n")
    with pytest.raises(ConfigError, match="epoch"):
        CHECKS[check_of(block)](block, tmp_path)
