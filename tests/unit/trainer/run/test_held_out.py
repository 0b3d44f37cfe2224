"""`held_out.jsonl`: written, read, and refused when it is damaged."""

from __future__ import annotations

import json

import pytest

from eaves.errors import RunError
from trainer.run.held_out import HeldOutAnswer, parse_held_out, render_held_out

ANSWERS = (
    HeldOutAnswer(digest="bb", file="rose/\udcff.jpg", label="rose", predicted="daisy", score=0.75),
    HeldOutAnswer(digest="aa", file="daisy/1.jpg", label="daisy", predicted="daisy", score=0.5),
)


def test_answers_are_read_as_they_were_written() -> None:
    text = render_held_out(ANSWERS)
    assert [json.loads(line)["digest"] for line in text.splitlines()] == ["aa", "bb"]
    assert parse_held_out(text, "held_out.jsonl") == {answer.digest: answer for answer in ANSWERS}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"digest": "cc"}',
        '{"digest": "cc", "file": "a", "label": "a", "predicted": "b", "score": NaN}',
    ],
)
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(RunError, match="line 3"):
        parse_held_out(render_held_out(ANSWERS) + line + "\n", "runs/x/held_out.jsonl")
