"""Notifications as stores send them, and as anybody may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eaves.sources.s3.notifications import parse_notification


def record(key: Any = "gate/1.jpg", bucket: Any = "photos", name: Any = "ObjectCreated:Put") -> dict[str, Any]:
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3}}}


def parsed(document: Any, prefix: str = "gate/") -> list[str]:
    return parse_notification(json.dumps(document), bucket="photos", prefix=prefix)


def test_the_form_of_s3_and_minio() -> None:
    keys = ["gate/a+b%2B%C3%BC.jpg", "gate/1.jpg", "gate/1.jpg"]
    assert parsed({"Records": [record(key) for key in keys]}) == ["gate/a b+ü.jpg", "gate/1.jpg"]
    assert parsed({"EventName": "s3:ObjectCreated:Put", "Records": [record(name="s3:ObjectCreated:Put")]}) == [
        "gate/1.jpg"
    ]


def test_the_form_of_sns_has_the_same_within_a_text() -> None:
    assert parsed({"Type": "Notification", "Message": json.dumps({"Records": [record()]})}) == ["gate/1.jpg"]


@pytest.mark.parametrize(
    "document",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"},
        {"Records": [record(bucket="others")]},
        {"Records": [record("yard/1.jpg")]},
        {"Records": [record("gate/" + "x" * 1_020)]},
        {"Records": [record(7), record(""), record(None), record(bucket=[]), 3, None, {"s3": 1}, {"eventName": []}]},
        {"Type": "Notification", "Message": 3},
    ],
)
def test_anything_else_names_no_key(document: Any) -> None:
    assert parsed(document) == []


@pytest.mark.parametrize("text", ["no json", '{"Type": "Notification", "Message": "no json"}'])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        parse_notification(text, bucket="photos", prefix="")
