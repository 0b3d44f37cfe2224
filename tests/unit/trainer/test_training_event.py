"""The event that starts a training Job: what it names, what it may name, and the run's identity."""

import json
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import DatasetError, EventError
from trainer.training_event import check_allowed, read_event

EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "/eaves/site/photos",
    "type": "dev.eaves.dataset.updated.v1",
    "data": {"dataset": "s3://photos/flowers"},
}


def mount(folder: Path, **changes: Any) -> Path:
    (folder / "event").write_text(json.dumps(EVENT | changes))
    return folder


def test_an_event_names_its_data_and_the_run(tmp_path: Path):
    event = read_event(mount(tmp_path))
    assert event.dataset == "s3://photos/flowers"
    assert len(event.identity) == 64
    assert event.identity == read_event(mount(tmp_path, data={"dataset": "s3://other"})).identity


def test_source_and_id_do_not_run_together(tmp_path: Path):
    first = read_event(mount(tmp_path, source="/a", id="bc")).identity
    assert first != read_event(mount(tmp_path, source="/ab", id="c")).identity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "dev.eaves.image.captured.v1"}, "can't start a training"),
        ({"data": {}}, "does not name data"),
        ({"data": None}, "not JSON"),
    ],
)
def test_events_that_start_nothing(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(EventError, match=message):
        read_event(mount(tmp_path, **changes))


PREFIXES = ("s3://photos/site-a", "https://data.example/sets/", "file:///data")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://photos/site-a/flowers",
        "file:///data/flowers",
    ],
)
def test_data_below_an_allowed_prefix(uri: str):
    check_allowed(uri, PREFIXES)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://photos/site-b",
        "s3://photos/site-ab",
        "s3://photos/site-a/../site-b",
        "gs://photos/site-a",
        "https://data.example:8443/sets/flowers.zip",
        "https://data.example@evil.example/sets/flowers.zip",
        "https://data.example/sets/%2e%2e/other.zip",
        "https://data.example/sets/a.zip?x=1",
        "zip::s3://photos/site-a/x.zip",
        "s3://photos/site-a\n",
    ],
)
def test_data_anywhere_else(uri: str):
    with pytest.raises(DatasetError):
        check_allowed(uri, PREFIXES)


def test_no_prefixes_allow_nothing_and_the_hint_says_what_to_do():
    with pytest.raises(DatasetError, match="allowed: none") as caught:
        check_allowed("s3://photos/site-a", ())
    assert "data.allowed_prefixes" in str(caught.value.hint)


def test_a_bucket_or_a_host_as_a_whole_may_be_allowed():
    check_allowed("s3://photos/anything", ("s3://photos",))
    check_allowed("s3://photos/anything", ("s3://photos/",))
