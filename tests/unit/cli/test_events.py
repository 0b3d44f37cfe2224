"""`eaves events` names types as eaves.yaml, events and logs do, and finds them by what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    history = FileHistory(tmp_path / "history.db")
    for number, kind in enumerate([IMAGE_CAPTURED, IMAGE_CLASSIFIED, "org.example.seen.v2"]):
        history.add(Event(id=str(number), source="/s", type=kind))
    history.close()
    return tmp_path


def events(state: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["events", "--state", str(state), *words], catch_exceptions=False)


def test_the_table_and_json_name_a_type_in_full(state: Path) -> None:
    table = events(state).stdout
    listed = json.loads(events(state, "-o", "json").stdout)
    assert [record["type"] for record in listed] == [IMAGE_CAPTURED, IMAGE_CLASSIFIED, "org.example.seen.v2"]
    assert all(record["type"] in table.split() for record in listed)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (IMAGE_CLASSIFIED, ["1"]),
        ("image.classified", ["1"]),
        ("dev.eaves.", ["0", "1"]),
    ],
)
def test_what_is_shown_as_a_type_finds_its_events(state: Path, wanted: str, ids: list[str]) -> None:
    listed = json.loads(events(state, "--type", wanted, "-o", "json").stdout)
    assert [record["id"] for record in listed] == ids


def test_a_type_that_no_event_has_is_said_with_those_that_there_are(state: Path) -> None:
    done = events(state, "--type", "dev.eaves.image.clasified.v1", "-o", "json")
    assert json.loads(done.stdout) == []
    assert IMAGE_CLASSIFIED in done.stderr
    assert "org.example.seen.v2" in done.stderr
