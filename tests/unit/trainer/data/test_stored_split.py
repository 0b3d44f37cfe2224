"""`split.jsonl`: written, read, and refused when it is damaged."""

from __future__ import annotations

import pytest

from eaves.errors import RunError
from trainer.data.splitting import SplitEntry, parse_lines, render_lines

ENTRIES = [
    SplitEntry(digest="bb", label="daisy", split="val", group="part07"),
    SplitEntry(digest="aa", label="tulips \udcff", split="train"),
]


def test_a_split_survives_writing_and_reading() -> None:
    text = render_lines(ENTRIES)
    assert parse_lines(text, "split.jsonl", SplitEntry) == {entry.digest: entry for entry in ENTRIES}


@pytest.mark.parametrize("line", ["{", '{"digest": "a"}', '{"digest": "a", "label": "b", "split": "test"}'])
def test_a_damaged_line_is_named(line: str) -> None:
    good = render_lines(ENTRIES[:1])
    with pytest.raises(RunError, match="line 2 can't be read") as caught:
        parse_lines(good + line + "\n", "runs/x/split.jsonl", SplitEntry)
    assert caught.value.message.startswith("runs/x/split.jsonl")
