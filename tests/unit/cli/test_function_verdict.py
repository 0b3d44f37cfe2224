"""Whether a function would take an image."""

from __future__ import annotations

import pytest

from eaves.cli.source_trial.function_verdict import describe_verdict, find_refusal
from eaves.events import IMAGE_CAPTURED, Event
from eaves.sources.trial.findings import PictureFigures, SourceTrial
from functions.settings import ServeSettings


def build_trial(data: bytes = b"x" * 100, media_type: str = "image/jpeg", **extensions: str) -> SourceTrial:
    event = Event(
        id="1",
        source="/eaves/home/gate",
        type=IMAGE_CAPTURED,
        datacontenttype=media_type,
        data=data,
        extensions=extensions,
    )
    figures = PictureFigures(width=100, height=30, brightness=1, contrast=1)
    return SourceTrial(name="gate", kind="http", place="", event=event, picture=figures if data else None)


@pytest.mark.parametrize(
    ("trial", "limits", "reason"),
    [
        (build_trial(), {}, ""),
        (build_trial(), {"max_body_bytes": 99}, "it has 100 bytes, more than function.max_body_bytes (99)"),
        (build_trial(), {"max_pixels": 2_999}, "it has 3000 pixels, more than function.max_pixels allows (2999)"),
        (build_trial(media_type="image/webp"), {"max_pixels": 8_999}, "it has 3000 pixels"),
        (build_trial(), {"accept_types": ("other",)}, "function.accept_types doesn't contain"),
        (build_trial(media_type="application/octet-stream"), {}, "not an image in a format that functions read"),
        (build_trial(b"", dataref="https://b.example/1"), {}, "datarefs to the host 'b.example' are not allowed"),
        (build_trial(b"", dataref="https://b.example/1"), {"dataref_hosts": ("b.example",)}, ""),
        (build_trial(b"", dataref="http://b.example/1"), {"dataref_hosts": ("b.example",)}, "the scheme 'http'"),
    ],
)
def test_a_limit_is_named(trial: SourceTrial, limits: dict[str, object], reason: str) -> None:
    values: dict[str, object] = {"max_body_bytes": 1_000, "max_pixels": 10_000, **limits}
    settings = ServeSettings(**values)  # type: ignore[arg-type]
    found = find_refusal(trial, settings)
    assert reason in found
    assert bool(found) == bool(reason)
    sentence = describe_verdict(trial, settings, found, by_default=False)
    assert sentence.startswith(
        "the function refuses it: " if found else ("the function takes it", "the function fetches")
    )
