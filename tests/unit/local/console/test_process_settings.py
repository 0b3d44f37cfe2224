"""What the supervisor passes to the console's process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.errors import InputError
from eaves.local.console.process_settings import ProcessSettings, parse_process_settings
from eaves.local.settings import LocalSettings


def test_the_process_gets_what_was_passed_and_nothing_else_starts_it() -> None:
    platform = LocalSettings(console_host="10.0.0.5", console_credentials=Path("/a/console"), console_read_only=True)
    passed = ProcessSettings(listener=3, state=Path("/s"), project=Path("/p"), idle_s=2.0, platform=platform)
    assert parse_process_settings([passed.to_argument()]) == passed
    local = replace(passed, platform=LocalSettings())
    assert parse_process_settings([local.to_argument()]) == local
    newer = {**json.loads(passed.to_argument()), "of_a_newer_version": 1}
    for arguments in ([], ["x"], ["[]"], ["null"], [json.dumps(newer)]):
        with pytest.raises(InputError, match="is started by `eaves up`"):
            parse_process_settings(arguments)
