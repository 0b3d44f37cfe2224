"""Lines of a training's log, as its container writes them, for people here."""

import json

from knative.training.job_follower import parse_line


def test_any_other_line_is_text_that_moves_no_cursor():
    lines = {
        "plain text": "plain text",
        '{"message": "reported"}': "reported",
        '{"message": "reported", "phase": "x", "done": 1, "total": 2}': "reported",
        '{"message": 7}': '{"message": 7}',
        "{broken": "{broken",
        "[1, 2]": "[1, 2]",
        "\x1b[2Jcleared\x07": " [2Jcleared",
        "": "",
    }
    assert {raw: parse_line(raw) for raw in lines} == lines


def test_a_line_is_bounded():
    assert len(parse_line("x" * 10_000)) == 500
    assert len(parse_line(json.dumps({"message": "x" * 10_000}))) == 500
