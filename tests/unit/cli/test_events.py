"""`eaves events` names types as eaves.yaml, events and logs do, and finds them by what it shows."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory
from tests.fakes.console.material import INSPECTION, captured_event, inspected_event


@pytest.fixture
def state(tmp_path: Path) -> Path:
    history = FileHistory(tmp_path / "history.db")
    for number, kind in enumerate([IMAGE_CAPTURED, IMAGE_CLASSIFIED, "org.example.seen.v2"]):
        history.add(Event(id=str(number), source="/s", type=kind))
    history.close()
    return tmp_path


def events(state: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["events", "--state", str(state), *words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("image.classified", ["1"]),
        ("dev.eaves.", ["0", "1"]),
    ],
)
def test_what_is_shown_as_a_type_finds_its_events(state: Path, wanted: str, ids: list[str]):
    listed = json.loads(events(state, "--type", wanted, "-o", "json").stdout)
    assert [record["id"] for record in listed] == ids


def test_a_p_value_has_a_column_only_where_there_is_one(state: Path):
    assert "P-VALUE" not in events(state, "-o", "wide").stdout
    history = FileHistory(state / "history.db")
    history.add(inspected_event(captured_event()))
    history.close()
    heading, *rows = events(state, "-o", "wide").stdout.splitlines()
    assert heading.split()[3:6] == ["LABEL", "SCORE", "P-VALUE"]
    assert rows[-1].split()[-5:-2] == ["anomalous", "5.125", "0.012"]
    assert json.loads(events(state, "-o", "json").stdout)[-1]["p_value"] == INSPECTION["p_value"]


def test_a_type_that_no_event_has_is_said_with_those_that_there_are(state: Path):
    done = events(state, "--type", "dev.eaves.image.clasified.v1", "-o", "json")
    assert json.loads(done.stdout) == []
    assert IMAGE_CLASSIFIED in done.stderr
    assert "org.example.seen.v2" in done.stderr
