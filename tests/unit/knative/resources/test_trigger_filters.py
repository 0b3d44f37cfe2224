"""A Trigger matches on Knative what it matches locally: its broker doesn't decode what a header holds."""

from typing import Any

import pytest

from eaves.events import Event, encode_binary
from eaves.platform import TriggerSpec
from eaves.platform.triggers import find_filter_faults, matches_all
from knative.resources.eventing import build_filters

VALUES = ("plain", "red rose", "100%", "Gänseblümchen", 'a "quoted" word', "日本", "a/b c.png")


def built(**values: Any) -> dict[str, Any]:
    return build_filters(TriggerSpec(name="out", **values))


def test_plain_values_stay_a_filter():
    assert built(filter={"type": "a.b", "label": ""}) == {"filter": {"attributes": {"type": "a.b", "label": ""}}}
    assert built() == {}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("dialect", ["exact", "prefix", "suffix"])
def test_a_value_matches_as_it_travels_and_as_it_is(value: str, dialect: str):
    """What Knative sees: the header of a sender that encodes it, or the text of one that does not."""
    found = built(filters=({dialect: {"label": value}},))["filters"]
    assert list(find_filter_faults(found)) == []
    whole = {"exact": value, "prefix": f"{value} and more", "suffix": f"more and {value}"}[dialect]
    headers, _ = encode_binary(Event(id="1", source="/s", type="t", extensions={"label": whole}))
    for seen in (whole, headers["ce-label"]):
        assert matches_all({"label": seen}, {}, found)
    assert not matches_all({"label": "another"}, {}, found)


def test_a_filter_with_such_a_value_becomes_filters():
    assert built(filter={"type": "a.b", "label": "red rose", "model": ""}) == {
        "filters": [
            {"exact": {"type": "a.b"}},
            {"any": [{"exact": {"label": "red rose"}}, {"exact": {"label": "red%20rose"}}]},
            {"cesql": "EXISTS model"},
        ]
    }
