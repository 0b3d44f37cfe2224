"""K_CE_OVERRIDES adds extension attributes and touches nothing else of an event."""

from __future__ import annotations

import json

import pytest

from eaves.errors import ConfigError
from eaves.sources.overrides import parse_overrides


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("{}", {}),
        ('{"extensions": null}', {}),
        ('{"extensions": {}}', {}),
        ('{"extensions": {"rack": "7", "hall": "süd 1"}}', {"rack": "7", "hall": "süd 1"}),
        ('{"extensions": {"partitionkey": "camera-7"}}', {"partitionkey": "camera-7"}),
    ],
)
def test_extension_attributes_are_read(text: str, found: dict[str, str]) -> None:
    assert parse_overrides(text) == found


def test_attributes_of_the_event_itself_are_refused_and_all_named() -> None:
    names = (
        *("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "data"),
        "data_base64",
    )
    with pytest.raises(ConfigError) as caught:
        parse_overrides(json.dumps({"extensions": {"rack": "7", **dict.fromkeys(names, "x")}}))
    assert len(caught.value.faults) == len(names)
    for name in names:
        assert f"environment variable K_CE_OVERRIDES: {name!r}" in caught.value.message
    assert "rack" not in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("My-Ext", "x", "'My-Ext' can't be added to an event"),
        ("Rack", "x", "'Rack' can't be added to an event"),
        ("räck", "x", "can't be added to an event"),
        ("", "x", "'' can't be added to an event"),
        ("x" * 100, "x", "can't be added to an event"),
        ("rack", 7, "'rack' must be a string, not int"),
        ("rack", None, "'rack' must be a string, not NoneType"),
        ("rack", ["a"], "'rack' must be a string, not list"),
        ("rack", "a\nb", "contains a control character"),
        ("rack", "\ud800", "an unpaired surrogate"),
        ("rack", "x" * 5000, "more than 4096 bytes"),
    ],
)
def test_what_no_event_could_carry_is_refused_at_the_start(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_overrides(json.dumps({"extensions": {name: value}}))


@pytest.mark.parametrize("text", ["x", "[1]", "7", '{"extensions": []}x', '{"extensions": ["a"]}', "[" * 100_000])
def test_anything_but_an_object_of_extensions_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"environment variable K_CE_OVERRIDES: (not JSON|must be an object)"):
        parse_overrides(text)
