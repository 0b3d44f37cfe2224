"""The dialects of the Subscriptions API, and what eaves.yaml may say of them."""

from typing import Any

import pytest

from eaves.platform import TriggerSpec
from eaves.platform.triggers import MAX_DEPTH, find_filter_faults, matches_all, rewrite_matches

EVENT = {"type": "photo", "source": "/cams/7", "subject": "a b/Gänseblümchen 100%.png", "label": "red rose"}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([{"exact": {"label": "red rose"}}], True),
        ([{"exact": {"label": "red rose", "type": "photo"}}], True),
        ([{"prefix": {"source": "/cams/"}}], True),
        ([{"suffix": {"subject": "100%.png"}}], True),
        ([{"suffix": {"subject": ".jpg"}}], False),
        ([{"all": [{"exact": {"type": "photo"}}, {"prefix": {"source": "/cams"}}]}], True),
        ([{"any": [{"exact": {"type": "video"}}, {"prefix": {"source": "/lab"}}]}], False),
        ([{"not": {"exact": {"type": "photo"}}}], False),
        ([{"exact": {"type": "photo"}}, {"not": {"suffix": {"subject": ".png"}}}], False),
    ],
)
def test_every_dialect(filters: list[dict[str, Any]], wanted: bool):
    assert list(find_filter_faults(filters)) == []
    assert matches_all(EVENT, {}, filters) is wanted


def test_filters_are_used_in_place_of_a_filter():
    """Knative ignores `filter` too if there are `filters`."""
    assert matches_all(EVENT, {"type": "photo", "label": ""}, [])
    assert not matches_all(EVENT, {"type": "photo", "missing": ""}, [])
    assert matches_all(EVENT, {"type": "video"}, [{"exact": {"type": "photo"}}])


@pytest.mark.parametrize(
    ("one", "path", "message"),
    [
        ({}, "filters[0]", "must have exactly one of exact, prefix, suffix, all, any, not (got nothing)"),
        ({"exact": {"a": "b"}, "not": {}}, "filters[0]", "(got exact, not)"),
        ({"any": [{"exact": {}}]}, "filters[0].any[0].exact", "must have at least one attribute with its value"),
        ({"not": {"prefix": {"Type": "a"}}}, "filters[0].not.prefix", "a-z and 0-9 only (got 'Type')"),
        ({"exact": {"label": False}}, "filters[0].exact.label", "must be a string that is not empty (got False)"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(one: Any, path: str, message: str):
    ((where, reported),) = find_filter_faults([one])
    assert where == path
    assert message in reported


def test_filters_within_filters_end():
    one: dict[str, Any] = {"exact": {"a": "b"}}
    for _ in range(MAX_DEPTH - 1):
        one = {"not": one}
    assert list(find_filter_faults([one])) == []
    assert "more than 10 deep" in next(find_filter_faults([{"not": one}]))[1]


def test_a_trigger_has_a_filter_or_filters():
    trigger = TriggerSpec(name="a", filter={"type": "photo"}, filters=({"exact": {"type": "photo"}},))
    assert [path for path, _ in trigger.faults()] == ["filters"]


def test_comparisons_are_rewritten_within_each_other():
    filters = [{"any": [{"exact": {"a": "1", "b": "2"}}, {"not": {"prefix": {"c": "3"}}}]}]
    changed = rewrite_matches(filters, lambda dialect, name, value: {dialect: {name: value * 2}})
    assert changed == [
        {"any": [{"all": [{"exact": {"a": "11"}}, {"exact": {"b": "22"}}]}, {"not": {"prefix": {"c": "33"}}}]}
    ]
