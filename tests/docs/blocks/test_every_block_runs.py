"""No block of commands is left out: the list of those that no suite runs is empty."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from tests.docs.blocks import test_local_scripts, test_slow_scripts
from tests.docs.blocks.block import LANGUAGES
from tests.docs.blocks.pages import all_blocks, find_pages
from tests.docs.blocks.script import Script
from tests.e2e.docs import test_cluster_scripts

RUNNERS: tuple[Callable[..., object], ...] = (
    test_local_scripts.test_a_page_runs_as_typed,
    test_slow_scripts.test_a_page_runs_as_typed,
    test_cluster_scripts.test_a_page_runs_as_typed,
)
FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^(?![-*|<0-9 ]).+\n\n {4}\S.*", re.MULTILINE)
"""Code by indentation below a paragraph: it has no language that says whether it is run."""


def scripts_that_run() -> Iterator[Script]:
    """What pytest gives the three tests, by their own parameters."""
    for runner in RUNNERS:
        (scripts,) = [mark.args[1] for mark in runner.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
        yield from scripts


def times_run() -> Counter[str]:
    """How many scripts run each block, by the block's place."""
    return Counter(str(block) for script in scripts_that_run() for block in script.blocks)


def test_every_block_of_commands_runs_once():
    runs = times_run()
    commands = [str(block) for block in all_blocks() if block.is_command]
    assert [place for place in commands if runs[place] == 0] == [], "no suite runs these"
    assert [place for place in commands if runs[place] > 1] == [], "two suites run these"


def test_every_file_and_quotation_belongs_to_a_script():
    runs = times_run()
    marked = [str(block) for block in all_blocks() if {"file", "merge", "printed"} & set(block.marks)]
    assert [place for place in marked if runs[place] == 0] == []


def test_every_block_has_a_language():
    assert [str(block) for block in all_blocks() if block.language not in LANGUAGES] == []


def test_no_code_is_only_indented():
    assert [page for page in find_pages() if INDENTED.search(FENCED.sub("", page.read_text()))] == []
