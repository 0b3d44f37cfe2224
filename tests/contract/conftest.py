"""The platforms under test and the events sent to them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.artifact import open_artifact
from eaves.events import IMAGE_CAPTURED, Event, event_id
from eaves.platform import AppSpec, FunctionSpec, ScaleSettings, TriggerSpec, default_trigger
from tests.artifacts import tiny_artifact
from tests.contract.harness import Harness, LocalHarness
from tests.contract.sinks import Sink

__all__ = ["tiny_artifact"]

NAME = "digits"
MakeApp = Callable[..., AppSpec]
MakeEvent = Callable[..., Event]


@pytest.fixture(params=["local"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Each platform that needs nothing but this machine, running and empty; tests/e2e has the other one."""
    # A short path: pytest's own is too long for a Unix socket when the test's name is.
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder:
        local = LocalHarness(Path(folder) / "s")
        local.start()
        try:
            yield local
        finally:
            local.stop()


@pytest.fixture
def sink(harness: Harness) -> Iterator[Sink]:
    """A subscriber outside the platform."""
    with harness.open_sink() as opened:
        yield opened


@pytest.fixture
def make_app(harness: Harness, tiny_artifact: Path) -> MakeApp:
    """The digits function, with more triggers and another scale when wanted."""

    def make(*triggers: TriggerSpec, scale: ScaleSettings | None = None, artifact: Path | None = None) -> AppSpec:
        opened = open_artifact(artifact or tiny_artifact)
        function = FunctionSpec(
            name=NAME, site="test", artifact=opened.path, artifact_digest=opened.digest, concurrency=1
        )
        if scale is not None:
            function = replace(function, scale=scale)
        feeding = replace(default_trigger(NAME), delivery=harness.delivery)
        return AppSpec(function=function, triggers=(feeding, *triggers))

    return make


@pytest.fixture
def make_event(tiny_artifact: Path) -> MakeEvent:
    """A captured image: one of the artifact's golden ones, or other bytes."""
    images = sorted((tiny_artifact / "golden").glob("*.png"))

    def make(subject: str, *, image: int = 0, data: bytes | None = None, **extensions: str) -> Event:
        source = "/eaves/test/contract"
        return Event(
            id=event_id(source, subject),
            source=source,
            type=IMAGE_CAPTURED,
            subject=subject,
            time="2026-01-01T00:00:00Z",
            datacontenttype="image/png",
            data=images[image].read_bytes() if data is None else data,
            extensions=extensions,
        )

    return make
