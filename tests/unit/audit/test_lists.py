"""Origins of lists: pages of a ledger, a receiver that fails now and then, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eaves.audit import read_file, read_pages, read_receiver
from eaves.base.backoff import Backoff
from eaves.errors import DeliveryError, InputError, NotFoundError, StatusError
from eaves.events import Event
from eaves.link.ledger_lines import to_dict
from eaves.spool import LedgerLimits, LedgerLine, Spool

IMPATIENT = Backoff(retry=3, first_s=0.001, cap_s=0.001)


def line(number: int) -> LedgerLine:
    return LedgerLine(
        number=number, source="/s", id=str(number), taken_at=1.0, state="released", changed_at=1.0, repeats=0
    )


class Receiver:
    """A receiver of so many lines; `failures` are raised first, one at each call."""

    def __init__(self, count: int, *failures: Exception) -> None:
        self.lines = [to_dict(line(number)) for number in range(1, count + 1)]
        self.failures = list(failures)
        self.calls = 0

    def read_ledger(self, after: int = 0, limit: int = 10_000) -> list[dict[str, Any]]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return [one for one in self.lines if one["number"] > after][: min(limit, 3)]


def numbers(receiver: Receiver) -> list[int]:
    return [one.number for one in read_receiver(receiver.read_ledger, "https://cloud", retry=IMPATIENT)]


def test_a_page_that_the_link_swallows_is_asked_for_again() -> None:
    assert numbers(Receiver(4, DeliveryError("no answer"), DeliveryError("no answer"))) == [1, 2, 3, 4]


def test_a_receiver_that_refuses_is_not_asked_again() -> None:
    receiver = Receiver(4, StatusError("answered 401", status=401))
    with pytest.raises(StatusError):
        numbers(receiver)
    assert receiver.calls == 1


def test_a_ledger_that_begins_again_and_again_ends() -> None:
    with pytest.raises(InputError, match="not in ascending order"):
        list(read_pages(lambda after: [line(5)]))


def test_a_file_is_a_spool_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with Spool(path, ledger=LedgerLimits()) as spool:
        spool.put(Event(id="1", source="/s", type="t"))
        assert [one.id for one in read_file(path)] == ["1"], "while it is in use"
    text = tmp_path / "lines"
    text.write_text("".join(json.dumps(to_dict(one)) + "\n" for one in read_file(path)))
    assert list(read_file(text)) == list(read_file(path))
    Spool(tmp_path / "plain.db").close()
    with pytest.raises(NotFoundError, match="holds no ledger"):
        list(read_file(tmp_path / "plain.db"))
    with pytest.raises(InputError, match="can't be read"):
        list(read_file(tmp_path))
