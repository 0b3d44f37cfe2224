"""The platforms under test and the events sent to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from eaves.artifact import open_artifact
from eaves.events import IMAGE_CAPTURED, Event, event_id
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import RelaySpec, ScaleSettings, TriggerSpec, default_trigger
from tests.contract.harness import Harness, open_local_harness
from tests.contract.sinks import Sink
from tests.inputs.artifacts import tiny_artifact
from tests.processes.receiving import TOKEN, receiving, write_site

__all__ = ["tiny_artifact"]

NAME, SITE = "digits", "test"
MakeApp = Callable[..., LocalApp]
MakeEvent = Callable[..., Event]


@pytest.fixture(scope="module", params=["local"])
def running(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Each platform that needs nothing but this machine; tests/e2e has the other one."""
    with open_local_harness() as local:
        yield local


@pytest.fixture
def harness(running: Harness) -> Iterator[Harness]:
    """A platform, empty."""
    yield running
    running.clear()


@pytest.fixture
def sink(harness: Harness) -> Iterator[Sink]:
    """A subscriber outside the platform."""
    with harness.open_sink() as opened:
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """A receiver in the cloud.

    Attributes:
        relay: What an app says whose predictions go there.
        sink: Sink that the receiver passes received events on to.
    """

    relay: RelaySpec
    sink: Sink


@pytest.fixture
def receiver(harness: Harness, sink: Sink, tmp_path: Path) -> Iterator[Receiving]:
    """A receiver with TLS that lets one site in, by a token."""
    place, link = tmp_path / "cloud", tmp_path / "link"
    for folder in (place, link):
        folder.mkdir()
    write_site(place / "sites", SITE)
    with receiving(place, sink=sink.url) as served:
        (link / "token").write_text(TOKEN)
        (link / "ca.crt").write_bytes((place / "credentials" / "tls.crt").read_bytes())
        yield Receiving(relay=RelaySpec(to=f"https://127.0.0.1:{served.port}", credentials=link), sink=sink)


@pytest.fixture
def make_app(harness: Harness, tiny_artifact: Path) -> MakeApp:
    """The digits function, with more triggers and another scale when wanted."""

    def make(*triggers: TriggerSpec, scale: ScaleSettings | None = None, artifact: Path | None = None) -> LocalApp:
        opened = open_artifact(artifact or tiny_artifact)
        function = LocalFunction(
            name=NAME, site=SITE, artifact=opened.path, artifact_digest=opened.digest, concurrency=1
        )
        if scale is not None:
            function = replace(function, scale=scale)
        feeding = replace(default_trigger(NAME), delivery=harness.delivery)
        return LocalApp(function=function, triggers=(feeding, *triggers))

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
