"""What the supervisor passes to the console's process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eaves.errors import InputError
from eaves.local.console.process_settings import ProcessSettings, parse_process_settings

SETTINGS = ProcessSettings(
    listener=3, state=Path("/a/.eaves"), project=Path("/a"), thumbnails_max_bytes=1_000, idle_s=600.0
)


@pytest.mark.parametrize("credentials", [None, Path("/a/console")])
def test_the_process_gets_what_was_passed(credentials: Path | None) -> None:
    passed = ProcessSettings(
        listener=3, state=Path("s"), project=Path("p"), credentials=credentials, thumbnails_max_bytes=1, idle_s=2.0
    )
    assert parse_process_settings([passed.to_argument()]) == passed


@pytest.mark.parametrize("arguments", [[], ["x"], ["[]"], ["null"]])
def test_a_process_that_a_person_starts_says_who_starts_it(arguments: list[str]) -> None:
    with pytest.raises(InputError, match="is started by `eaves up`"):
        parse_process_settings(arguments)


@pytest.mark.parametrize("change", [{"of_a_newer_version": 1}, {"idle_s": None}])
def test_settings_of_another_version_are_refused(change: dict[str, object]) -> None:
    passed = {**json.loads(SETTINGS.to_argument()), **change}
    if change.get("idle_s", 1) is None:
        del passed["idle_s"]
    with pytest.raises(InputError, match="is started by `eaves up`"):
        parse_process_settings([json.dumps(passed)])
