"""Predictions are printed as they come, and a terminal that is slow or gone delays nobody."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from eaves.cli.live.event_printer import MAX_DATA, MAX_WAITING, PredictionPrinter
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event
from tests.waiting import wait_until


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


def test_each_prediction_is_one_line_and_nothing_else_is_printed(pipe: tuple[int, int]) -> None:
    printer = PredictionPrinter(pipe[1], is_terminal=False)
    printer.start()
    printer.add(Event(id="1", source="/eaves/home/inbox", type=IMAGE_CAPTURED, data=b"x"))
    printer.add(prediction(2))
    printer.add(prediction(3, type_=IMAGE_REJECTED))
    printer.add(prediction(4, padding=MAX_DATA))
    printer.stop()
    lines = [line.split()[1:] for line in read(pipe[0]).splitlines()]
    assert lines == [["flowers", "roses", "0.93", "2.jpg"], ["flowers", "roses", "4.jpg"]]


def test_a_terminal_that_takes_nothing_delays_nobody_and_what_it_missed_is_counted(pipe: tuple[int, int]) -> None:
    printer = PredictionPrinter(pipe[1], is_terminal=False)
    printer.start()
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


def test_a_reader_that_has_gone_ends_the_printing(pipe: tuple[int, int]) -> None:
    printer = PredictionPrinter(pipe[1], is_terminal=False)
    printer.start()
    os.close(pipe[0])
    printer.add(prediction(1))
    wait_until(lambda: not printer.is_alive(), 10, what="the end of its thread")
    for number in range(2 * MAX_WAITING):
        printer.add(prediction(number))
    assert printer.waiting() <= 1
    printer.stop()
