"""K_CE_OVERRIDES adds extension attributes and touches nothing else of an event."""

import json

import pytest

from eaves.errors import ConfigError
from eaves.sources.agent.configuration import parse_overrides


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ('{"extensions": null}', {}),
        ('{"extensions": {"rack": "7", "hall": "süd 1"}}', {"rack": "7", "hall": "süd 1"}),
        ('{"extensions": {"partitionkey": "camera-7"}}', {"partitionkey": "camera-7"}),
    ],
)
def test_extension_attributes_are_read(text: str, found: dict[str, str]):
    assert parse_overrides(text) == found


def test_attributes_of_the_event_itself_are_refused_and_all_named():
    names = ("id", "source", "type", "time", "datacontenttype")
    with pytest.raises(ConfigError) as caught:
        parse_overrides(json.dumps({"extensions": {"rack": "7", **dict.fromkeys(names, "x")}}))
    for name in names:
        assert repr(name) in caught.value.message
    assert "rack" not in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(("name", "value"), [("My-Ext", "x"), ("rack", 7), ("rack", "a\nb"), ("rack", "x" * 5000)])
def test_what_no_event_could_carry_is_refused_at_the_start(name: str, value: object):
    with pytest.raises(ConfigError, match="can't be added to an event"):
        parse_overrides(json.dumps({"extensions": {name: value}}))


@pytest.mark.parametrize("text", ["x", "[1]", '{"extensions": ["a"]}'])
def test_anything_but_an_object_of_extensions_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"environment variable K_CE_OVERRIDES: (not JSON|must be an object)"):
        parse_overrides(text)
