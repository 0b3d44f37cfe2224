"""What a Service's list of shares says, and how one is written."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from knative.rollout.state import (
    LATEST,
    NEXT_TAG,
    build_traffic,
    parse_traffic,
    render_traffic,
    split_traffic,
)

PERCENT = st.integers(0, 100)


@given(percent=PERCENT)
def test_two_revisions_always_share_all_requests(percent: int) -> None:
    shares = split_traffic("new", percent, "old")
    assert sum(shares.values()) == 100
    assert shares.get("new", 0) == percent
    assert all(shares.values())
    assert parse_traffic(build_traffic(shares), "") == (shares, shares, "")


def test_shares_are_written_as_knatives_webhook_completes_them_so_that_applying_them_again_changes_nothing() -> None:
    assert build_traffic({"a-1": 90, "a-2": 10}) == [
        {"revisionName": "a-1", "percent": 90, "latestRevision": False},
        {"revisionName": "a-2", "percent": 10, "latestRevision": False},
    ]
    assert build_traffic({LATEST: 100}) == [{"latestRevision": True, "percent": 100}]


def test_a_revision_at_zero_stands_in_the_list_only_to_be_tried_under_an_address_of_its_own() -> None:
    entries = build_traffic({"a-1": 100, "a-2": 0})
    assert [entry["revisionName"] for entry in entries] == ["a-1"]
    entries = build_traffic({"a-1": 100}, preview="a-2")
    assert entries[1] == {"revisionName": "a-2", "percent": 0, "latestRevision": False, "tag": NEXT_TAG}
    assert parse_traffic(entries, "") == ({"a-1": 100}, {"a-1": 100}, "a-2")
    assert build_traffic({"a-1": 100}, preview="a-1") == build_traffic({"a-1": 100})


def test_what_follows_the_newest_revision_is_distinguished_and_can_be_resolved() -> None:
    entries: list[dict[str, Any]] = [
        {"latestRevision": True, "percent": 60},
        {"revisionName": "a-1", "percent": 40},
    ]
    traffic = {LATEST: 60, "a-1": 40}
    for latest, shares in (("a-2", {"a-2": 60, "a-1": 40}), ("a-1", {"a-1": 100}), ("", {"a-1": 40})):
        assert parse_traffic(entries, latest) == (traffic, shares, "")
    assert render_traffic(traffic) == "the latest 60 %, a-1 40 %"
    assert render_traffic({}) == "nobody"
