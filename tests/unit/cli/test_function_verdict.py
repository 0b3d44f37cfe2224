"""Whether a function would take an image."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from eaves.cli.source_trial import find_refusal
from eaves.events import IMAGE_CAPTURED, Event
from functions.settings import ServeSettings


def build_event(form: str = "JPEG", **extensions: str) -> Event:
    output = io.BytesIO()
    if form:
        Image.new("RGB", (100, 30)).save(output, form)
    data = output.getvalue()
    return Event(id="1", source="/eaves/home/gate", type=IMAGE_CAPTURED, data=data, extensions=extensions)


REFERENCE = build_event("", dataref="https://b.example/1")


@pytest.mark.parametrize(
    ("event", "limits", "reason"),
    [
        (build_event(), {}, ""),
        (build_event(), {"max_body_bytes": 99}, "bytes, more than function.max_body_bytes (99)"),
        (build_event(), {"max_pixels": 2_999}, "at most 0.003 megapixels"),
        (build_event(), {"accept_types": ("other",)}, "function.accept_types doesn't contain"),
        (build_event("PPM"), {}, "not an image"),
        (REFERENCE, {}, "datarefs to the host 'b.example' are not allowed"),
        (REFERENCE, {"dataref_hosts": ("b.example",)}, ""),
    ],
)
def test_a_limit_is_named(event: Event, limits: dict[str, object], reason: str) -> None:
    values: dict[str, object] = {"max_body_bytes": 10_000, "max_pixels": 10_000, **limits}
    found = find_refusal(event, ServeSettings(**values))  # type: ignore[arg-type]
    assert reason in found
    assert bool(found) == bool(reason)
