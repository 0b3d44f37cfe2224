"""What `dead_letter_sink` of a trigger may be, and whom it means."""

from __future__ import annotations

from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.platform import TriggerSpec


def trigger(sink: str, **values: Any) -> TriggerSpec:
    given = {"name": "hub", "delivery": {"dead_letter_sink": sink}, **values}
    return build(TriggerSpec, SettingsLayer(origin="eaves.yaml", values=given))


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("mqtt://user:secret@broker/topic", r"dead_letter_sink: must be an address .*\*\*\*@broker"),
        ("Not a name", "dead_letter_sink: must be an address"),
        ("hub", "delivery.dead_letter_sink: can't be the trigger itself"),
    ],
)
def test_what_a_sink_can_not_be(sink: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trigger(sink)
