"""Lines of a log as people read them."""

from __future__ import annotations

import json
import logging
import time

import pytest

from eaves.cli.live.log_text import MAX_FIELD, format_log_line
from eaves.logs import JsonFormatter

NOON = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))


def test_a_json_line_is_local_time_level_message_and_fields() -> None:
    record = logging.makeLogRecord(
        {
            "name": "eaves.x",
            "levelno": 30,
            "levelname": "WARNING",
            "msg": "no %s",
            "args": ("answer",),
            "source": "/a/b",
        }
    )
    record.created = 1_700_000_000.25
    assert format_log_line(JsonFormatter().format(record)) == f"{NOON} WARNING no answer source=/a/b"


def test_a_traceback_follows_on_its_own_lines() -> None:
    line = json.dumps({"time": "2023-11-14T22:13:20.000Z", "level": "error", "message": "m", "traceback": "a\nb"})
    assert format_log_line(line) == f"{NOON} ERROR m\na\nb"


@pytest.mark.parametrize(
    "line", ["plain text", "{cut", "[1]", '{"level": "info"}', '{"message": 7}', "null", "[" * 5_000, ""]
)
def test_any_other_line_stays_as_it_is(line: str) -> None:
    assert format_log_line(line) == line


def test_a_message_can_begin_no_line_of_its_own() -> None:
    assert format_log_line(json.dumps({"message": "a\nERROR forged\x1b[2J"})) == "a\\x0aERROR forged\\x1b[2J"


def test_fields_of_a_hostile_writer_stay_short_and_a_moment_that_is_none_is_shown() -> None:
    shown = format_log_line(json.dumps({"time": "never", "message": "m", "x": "y" * 5_000, "n": {"a": [1]}}))
    assert shown.startswith("never m x=yyy")
    assert shown.endswith('… n={"a": [1]}')
    assert len(shown) < MAX_FIELD + 40
