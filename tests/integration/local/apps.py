"""The app that the local platform runs in these tests."""

from pathlib import Path

from eaves.artifact import Artifact
from eaves.events import IMAGE_CAPTURED, Event
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import ScaleSettings, SourceSpec, default_trigger

COLOURS_NAME = "colours"


def digits_app(artifact: Path, *sources: SourceSpec) -> LocalApp:
    """An app named `digits` at the site `test`, with the default trigger."""
    function = LocalFunction(name="digits", site="test", artifact=artifact)
    return LocalApp(function=function, triggers=(default_trigger("digits"),), sources=sources)


def colours_app(artifact: Artifact, *sources: SourceSpec, **scale: int) -> LocalApp:
    """An app whose function starts quickly and answers one request at a time."""
    function = LocalFunction(
        name=COLOURS_NAME,
        site="test",
        artifact=artifact.path,
        artifact_digest=artifact.digest,
        env={"EAVES_SELF_TEST": "none"},
        concurrency=1,
        scale=ScaleSettings(**scale),
    )
    return LocalApp(function=function, triggers=(default_trigger(COLOURS_NAME),), sources=sources)


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
