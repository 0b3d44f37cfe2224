"""Lines of events and logs, and a terminal that is slow or gone delays nobody."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator

import pytest

from eaves.cli.live import MAX_DATA, MAX_WAITING, PredictionPrinter, follow_tail, format_log_line, format_record
from eaves.errors import EavesError, NotFoundError, PlatformError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event
from eaves.history import Record
from eaves.logs import JsonFormatter
from tests.waiting import wait_until

NOON = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))


def line_of(subject: str = "a.jpg", label: str = "roses", text: str = "") -> str:
    text = text or json.dumps({"predictions": [{"label": label, "score": 0.934}]})
    return format_record(
        Record(
            seq=1, at=0.0, id="3f2a91c0" + "0" * 24, type=IMAGE_CLASSIFIED, source="/eaves/home/flowers",
            subject=subject, extensions={}, size_bytes=1, text=text,
        )
    )  # fmt: skip


def test_no_event_can_steer_the_terminal_or_begin_a_second_line() -> None:
    line = line_of("\x1b[2J\nroses\u202e", label="\x1b[2J\nroses\u202e")
    assert not {"\x1b", "\n", "\u202e"} & set(line)


@pytest.mark.parametrize("text", ["[" * 2_000, "3", '{"predictions": [{"score": "x"}]}'])
def test_data_that_is_no_prediction_shows_no_label(text: str) -> None:
    assert line_of().split()[1:] == ["image.classified.v1", "roses", "0.93", "a.jpg", "3f2a91c0"]
    assert line_of(text=text).split()[1:] == ["image.classified.v1", "a.jpg", "3f2a91c0"]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for number in (reader, writer):
        try:
            os.close(number)
        except OSError:
            continue


@pytest.fixture
def printer(pipe: tuple[int, int]) -> PredictionPrinter:
    made = PredictionPrinter(pipe[1])
    made.start()
    return made


def prediction(number: int, *, type_: str = IMAGE_CLASSIFIED, padding: int = 0) -> Event:
    data = json.dumps({"predictions": [{"label": "roses", "score": 0.93}], "padding": "x" * padding}).encode()
    return Event(
        id=str(number), source="/eaves/home/flowers", type=type_, subject=f"{number}.jpg",
        datacontenttype="application/json", data=data, extensions={"causeid": "c", "label": "roses"},
    )  # fmt: skip


def read(number: int) -> str:
    found = b""
    while True:
        try:
            content = os.read(number, 65_536)
        except BlockingIOError:
            return found.decode()
        if not content:
            return found.decode()
        found += content


def test_each_prediction_is_one_line_and_nothing_else_is_printed(
    pipe: tuple[int, int], printer: PredictionPrinter
) -> None:
    printer.add(Event(id="1", source="/eaves/home/inbox", type=IMAGE_CAPTURED, data=b"x"))
    printer.add(prediction(2))
    printer.add(prediction(3, type_=IMAGE_REJECTED))
    printer.add(prediction(4, padding=MAX_DATA))
    printer.add(Event(id="5", source="/s/f", type="dev.eaves.image.embedded.v1", extensions={"causeid": "c"}))
    printer.stop()
    lines = [line.split()[1:] for line in read(pipe[0]).splitlines()]
    assert lines == [
        ["flowers", "roses", "0.93", "2.jpg"],
        ["flowers", "roses", "4.jpg"],
        ["f", "image.embedded.v1"],
    ]


def test_a_terminal_that_takes_nothing_delays_nobody_and_what_it_missed_is_counted(
    pipe: tuple[int, int], printer: PredictionPrinter
) -> None:
    count = 20_000
    begin = time.thread_time()
    for number in range(count):
        printer.add(prediction(number))
    spent_s = time.thread_time() - begin
    printer.stop()  # within a second, although nobody reads
    text = ""

    def is_all_there() -> bool:
        nonlocal text
        text += read(pipe[0])
        shown = sum(line.endswith(".jpg") for line in text.splitlines())
        reported = [line for line in text.splitlines() if "predictions are not shown" in line]
        missed = sum(int(line[1:].split()[0].replace(",", "")) for line in reported)
        return shown + missed == count and missed >= count - 2 * MAX_WAITING - 3_000

    wait_until(is_all_there, 30, what="each prediction shown or counted")
    assert spent_s / count < 0.001


def test_a_reader_that_has_gone_ends_the_printing(pipe: tuple[int, int], printer: PredictionPrinter) -> None:
    os.close(pipe[0])
    for number in range(2 * MAX_WAITING):
        printer.add(prediction(number))
    begin = time.monotonic()
    printer.stop()
    assert time.monotonic() - begin < 0.9, "its thread has ended"


def test_a_log_that_is_away_for_a_while_continues_with_its_new_lines() -> None:
    answers: list[list[str] | EavesError] = [
        NotFoundError("no such function"), ["a", "b", "c"], ["b", "c", "d"], NotFoundError("at zero"),
        PlatformError("no answer"), ["c", "d", "e"], ["f"], ["f", "f"], ["x", "f", "b", "f"], ["f", "b", "f", "c"],
    ]  # fmt: skip

    def take(_: int) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, EavesError):
            raise answer
        return answer

    step = follow_tail(take, 2)

    def shown() -> list[str] | str:
        try:
            return list(step())
        except EavesError as error:
            return error.message

    assert [shown() for _ in range(10)] == [
        "no such function", ["b", "c"], ["d"], [], "no answer", ["e"], ["f"], ["f"], ["x", "f", "b", "f"], ["c"],
    ]  # fmt: skip


def test_a_json_line_is_local_time_level_message_and_fields() -> None:
    values = {"name": "eaves.x", "levelname": "WARNING", "msg": "no %s", "args": ("answer",), "source": "/a/b"}
    written = logging.makeLogRecord(values)
    written.created = 1_700_000_000.25
    assert format_log_line(JsonFormatter().format(written)) == f"{NOON} WARNING no answer source=/a/b"
    line = json.dumps({"time": "2023-11-14T22:13:20.000Z", "level": "error", "message": "m", "traceback": "a\nb"})
    assert format_log_line(line) == f"{NOON} ERROR m\na\nb"
    assert format_log_line(json.dumps({"message": "a\nERROR forged\x1b[2J"})) == "a\\x0aERROR forged\\x1b[2J"


@pytest.mark.parametrize("line", ["plain text", "[1]", '{"message": 7}', "[" * 5_000])
def test_any_other_line_stays_as_it_is(line: str) -> None:
    assert format_log_line(line) == line
