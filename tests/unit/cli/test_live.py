"""Lines of events and logs, and a terminal that is slow or gone delays nobody."""

import json
import logging
import os
import threading
import time

import pytest

from eaves.cli.live import format_record, print_predictions
from eaves.events import IMAGE_CLASSIFIED
from eaves.history import Record
from eaves.logs import JsonFormatter, format_log_line
from tests.fakes.console.material import captured_event, classified_event, record_of

NOON = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))


def line_of(subject: str = "a.jpg", label: str = "roses", text: str = "") -> str:
    text = text or json.dumps({"predictions": [{"label": label, "score": 0.934}]})
    return format_record(
        Record(
            seq=1, at=0.0, id="3f2a91c0" + "0" * 24, type=IMAGE_CLASSIFIED, source="/eaves/home/flowers",
            subject=subject, extensions={}, size_bytes=1, text=text,
        )
    )  # fmt: skip


def test_no_event_can_steer_the_terminal_or_begin_a_second_line():
    line = line_of("\x1b[2J\nroses\u202e", label="\x1b[2J\nroses\u202e")
    assert not {"\x1b", "\n", "\u202e"} & set(line)


@pytest.mark.parametrize("text", ["[" * 2_000, "3", '{"predictions": [{"score": "x"}]}'])
def test_data_that_is_no_prediction_shows_no_label(text: str):
    assert line_of().split()[1:] == ["image.classified.v1", "roses", "0.93", "a.jpg", "3f2a91c0"]
    assert line_of(text=text).split()[1:] == ["image.classified.v1", "a.jpg", "3f2a91c0"]


def test_a_terminal_that_has_gone_ends_no_printing():
    reader, writer = os.pipe()
    os.close(reader)
    ending = threading.Event()
    ending.set()
    print_predictions(lambda: [record_of(classified_event(captured_event(1)), 2)], writer, ending)
    os.close(writer)


def test_a_json_line_is_local_time_level_message_and_fields():
    values = {"name": "eaves.x", "levelname": "WARNING", "msg": "no %s", "args": ("answer",), "source": "/a/b"}
    written = logging.makeLogRecord(values)
    written.created = 1_700_000_000.25
    assert format_log_line(JsonFormatter().format(written)) == f"{NOON} WARNING no answer source=/a/b"
    line = json.dumps({"time": "2023-11-14T22:13:20.000Z", "level": "error", "message": "m", "traceback": "a\nb"})
    assert format_log_line(line) == f"{NOON} ERROR m\na\nb"
    assert format_log_line(json.dumps({"message": "a\nERROR forged\x1b[2J"})) == "a\\x0aERROR forged\\x1b[2J"


@pytest.mark.parametrize("line", ["plain text", "[1]", '{"message": 7}', "[" * 5_000])
def test_any_other_line_stays_as_it_is(line: str):
    assert format_log_line(line) == line
