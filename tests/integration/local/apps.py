"""The app that the local platform runs in these tests."""

from __future__ import annotations

from pathlib import Path

from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import SourceSpec, default_trigger


def digits_app(artifact: Path, *sources: SourceSpec) -> LocalApp:
    """An app named `digits` at the site `test`, with the default trigger."""
    function = LocalFunction(name="digits", site="test", artifact=artifact)
    return LocalApp(function=function, triggers=(default_trigger("digits"),), sources=sources)


def captured(number: int, data: bytes = b"x") -> Event:
    """An image, or what isn't one."""
    return Event(
        id=str(number),
        source="/eaves/test/gate",
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        data=data,
        subject=f"{number}.png",
    )
