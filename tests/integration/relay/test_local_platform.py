"""`eaves up` with a relay, from a folder of images to the files of a receiver: real processes, real TLS."""

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.admin.report import LinkReport
from eaves.artifact import open_artifact
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event, decode, encode_binary
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import ChooseSpec, RelaySpec, SourceSpec, TriggerSpec, default_trigger
from tests.cli import EAVES
from tests.contract.harness import LocalHarness
from tests.fakes.http.server import Asked, open_server, respond
from tests.processes.commands import run_command
from tests.processes.receiving import TOKEN, ReceiverProcess, Served, receiving, write_site
from tests.waiting import wait_until

SITE = "home"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Served]:
    """A receiver with TLS in this process, that writes files."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    write_site(folder / "sites", SITE)
    with receiving(folder, folder=folder / "received") as served:
        yield served


class Edge:
    """An app on the local platform, whose images are put into a folder.

    Args:
        harness: The platform.
        artifact: Path of the function's artifact.
        folder: Folder of the images and the credentials.
        to: The receiver's address.
        name: Name of the function.
        authorities: File with the certificate authority of the receiver; None: it speaks plain HTTP.
        relay: More settings of the relay.
    """

    def __init__(
        self,
        harness: LocalHarness,
        artifact: Path,
        folder: Path,
        to: str,
        *,
        name: str = "digits",
        authorities: Path | None = None,
        **relay: Any,
    ) -> None:
        self.inbox, self.golden = folder / "inbox", sorted((artifact / "golden").glob("*.png"))
        self._harness, self._sent = harness, 0
        credentials = folder / "link"
        for made in (self.inbox, credentials):
            made.mkdir(exist_ok=True)
        (credentials / "token").write_text(TOKEN)
        if authorities is not None:
            (credentials / "ca.crt").write_bytes(authorities.read_bytes())
        opened = open_artifact(artifact)
        function = LocalFunction(name=name, site=SITE, artifact=opened.path, artifact_digest=opened.digest)
        self.app = LocalApp(
            function=function,
            triggers=(default_trigger(name),),
            sources=(SourceSpec(name="inbox", options={"path": str(self.inbox), "settle_s": 0.2}),),
            relay=RelaySpec(to=to, credentials=credentials, **relay),
        )

    def deploy(self, app: LocalApp | None = None) -> None:
        self._harness.platform.deploy(app or self.app)

    def put(self, count: int, data: bytes | None = None) -> None:
        """Put images into the folder, as a camera does."""
        for _ in range(count):
            self._sent += 1
            image = self.golden[self._sent % len(self.golden)].read_bytes() if data is None else data
            (self.inbox / f"{self._sent:04d}.png").write_bytes(image)

    def wait_for_agent(self) -> None:
        """Wait until the agent runs with what was deployed: one that was started before captures images too."""
        name = self.app.function.name

        def has_captured_nothing() -> bool:
            agents = [agent for status in self._harness.platform.status() for agent in status.agents]
            return [source.captured for agent in agents if agent.name == name for source in agent.sources] == [0]

        wait_until(has_captured_nothing, 60, what="a new agent")

    def link(self) -> LinkReport | None:
        """How the platform says that the link is."""
        agents = [agent for status in self._harness.platform.status() for agent in status.agents]
        return next((agent.link for agent in agents if agent.name == f"{self.app.function.name}.relay"), None)


def received(folder: Path, kind: str = IMAGE_CLASSIFIED) -> list[str]:
    """What events of a type that a receiver has written are about: their subjects."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [event["subject"] for event in map(json.loads, lines) if event["type"] == kind]


def subjects(count: int) -> set[str]:
    return {f"{number:04d}.png" for number in range(1, count + 1)}


def folder_of(cloud: Served) -> Path:
    assert cloud.settings.folder is not None
    return cloud.settings.folder


def eaves(harness: LocalHarness, *arguments: str) -> str:
    command = [*EAVES, *arguments, "--state", str(harness.state)]
    done = run_command(command, stdin=subprocess.DEVNULL, check=True, timeout=60)
    return done.stdout


@pytest.mark.long("a platform is deployed four times")
def test_predictions_reach_the_cloud_with_the_images_that_are_wanted_and_what_was_refused(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path, cloud: Served
):
    to, authorities = f"https://127.0.0.1:{cloud.port}", tmp_path / "cloud" / "credentials" / "tls.crt"
    edge = Edge(harness, tiny_artifact, tmp_path, to, authorities=authorities, images="all")
    edge.deploy()
    edge.put(6)
    edge.put(1, b"\x89PNG\r\n\x1a\nnot one")
    folder = folder_of(cloud)
    wait_until(lambda: set(received(folder)) == subjects(6), 60, what="six predictions")
    wait_until(lambda: received(folder, IMAGE_REJECTED) == ["0007.png"], 60, what="the refused image")
    wait_until(lambda: set(received(folder, IMAGE_CAPTURED)) == subjects(7), 60, what="the images")
    wait_until(lambda: (link := edge.link()) is not None and link.up and link.forwarded == 14, 30, what="the report")
    (status,) = harness.platform.status()
    assert (status.queued, status.dead) == (0, 1)
    assert sorted(received(folder)) == sorted(subjects(6))


@pytest.mark.long("`eaves up`, an agent, a function, a relay and a receiver start")
def test_images_that_are_chosen_reach_the_dataset_here_and_in_the_cloud_once(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    """Half of the images are of the audit sample; platform and agent are killed in between."""
    (tmp_path / "cloud").mkdir()
    write_site(tmp_path / "cloud" / "sites", SITE)
    here, there = tmp_path / "photos", tmp_path / "cloud" / "photos"
    with receiving(tmp_path / "cloud", folder=tmp_path / "cloud" / "received", dataset=there) as cloud:
        to, authorities = f"https://127.0.0.1:{cloud.port}", tmp_path / "cloud" / "credentials" / "tls.crt"
        edge = Edge(harness, tiny_artifact, tmp_path, to, authorities=authorities, images="chosen")
        keeps = TriggerSpec(name="dataset", url=f"dataset://{here}")
        choose = ChooseSpec(audit_percent=50, images_per_hour=3600, here=True)
        edge.deploy(replace(edge.app, choose=choose, triggers=(*edge.app.triggers, keeps)))
        edge.put(8)
        harness.kill()
        harness.start()
        edge.put(8)
        folder = folder_of(cloud)
        wait_until(lambda: set(received(folder)) == subjects(16), 60, what="all predictions")
        wait_until(lambda: (link := edge.link()) is not None and link.backlog_events == 0, 30, what="an empty queue")
        (status,) = harness.platform.status()
        counts = [one for agent in status.agents for one in agent.choices]
        chosen = received(folder, IMAGE_CAPTURED)
        assert 0 < len(set(chosen)) == len(chosen) == sum(one.audit + one.unsure for one in counts)
        assert "of the audit sample and" in eaves(harness, "status")
        seen = json.loads(eaves(harness, "events", "--type", "image.captured", "-n", "100", "-o", "json"))
        assert {one["subject"] for one in seen if "chosen" in one["extensions"]} == set(chosen)
        wait_until(lambda: names_in(here) == names_in(there), 30, what="the same photos here")
        assert any(name.startswith("audit/audit-home-inbox") for name in names_in(here))


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.png")}


@pytest.mark.long("`eaves up`, an agent, a function and a receiver start twice")
def test_what_was_predicted_while_the_link_was_down_arrives_once_and_an_end_of_everything_loses_nothing(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    write_site(tmp_path / "sites", SITE)
    cloud = ReceiverProcess(tmp_path, EAVES_FOLDER=str(tmp_path / "received"))
    edge = Edge(harness, tiny_artifact, tmp_path, f"http://127.0.0.1:{cloud.port}")
    edge.deploy()
    edge.put(5)

    def backlog() -> int:
        link = edge.link()
        return link.backlog_events if link is not None and link.state == "down" else 0

    wait_until(lambda: backlog() == 5, 60, what="five predictions that wait")
    assert edge.link() is not None
    harness.kill()
    harness.start()
    edge.put(3)
    wait_until(lambda: backlog() == 8, 60, what="eight predictions that wait")
    entries = json.loads(eaves(harness, "queue", "--agent", "digits.relay", "-o", "json"))
    assert {entry["lane"] for entry in entries} == {"archive"}
    cloud.start()
    try:
        wait_until(lambda: set(received(tmp_path / "received")) == subjects(8), 60, what="eight predictions")
        # Else what the receiver has stored and not answered yet would wait, too.
        wait_until(lambda: (link := edge.link()) is not None and link.backlog_events == 0, 30, what="its answers")
        cloud.stop(signal.SIGKILL)
        edge.put(2)
        wait_until(lambda: backlog() == 2, 60, what="two predictions that wait")
        cloud.start()
        wait_until(lambda: set(received(tmp_path / "received")) == subjects(10), 60, what="ten predictions")
        wait_until(lambda: (link := edge.link()) is not None and link.backlog_events == 0, 30, what="an empty queue")
    finally:
        cloud.stop()
    assert sorted(received(tmp_path / "received")) == sorted(subjects(10))


@pytest.mark.long("`eaves up`, a function and two receivers start")
def test_a_relay_that_is_taken_away_keeps_its_queue_and_delivers_it_to_another_receiver(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path, cloud: Served
):
    """From a deployment without a relay to one with it, back, and to another receiver."""
    to, authorities = f"https://127.0.0.1:{cloud.port}", tmp_path / "cloud" / "credentials" / "tls.crt"
    edge = Edge(harness, tiny_artifact, tmp_path, "http://127.0.0.1:9", authorities=authorities)
    without = replace(edge.app, relay=RelaySpec())
    edge.deploy(without)
    edge.put(2)

    def is_done() -> bool:  # what is still in the agent's queue would go to the relay
        (status,) = harness.platform.status()
        return (status.delivered, status.queued) == (2, 0)

    wait_until(is_done, 60, what="predictions that nobody wants")
    edge.deploy()
    edge.wait_for_agent()
    edge.put(3)
    wait_until(lambda: (link := edge.link()) is not None and link.backlog_events == 3, 60, what="three that wait")
    edge.deploy(without)
    assert edge.link() is None
    entries = json.loads(eaves(harness, "queue", "--agent", "digits.relay", "-o", "json"))
    assert len(entries) == 3
    harness.platform.rollback("digits")
    edge.deploy(replace(edge.app, relay=replace(edge.app.relay, to=to)))
    folder = folder_of(cloud)
    wait_until(lambda: set(received(folder)) == subjects(5) - subjects(2), 60, what="what waited")


def predict(asked: Asked) -> bytes:
    """The size of an image, as a function in the cloud predicts it."""
    cause = decode(asked.headers, asked.body)
    reply = Event(
        id=f"of-{cause.id}",
        source="/eaves/cloud/digits",
        type=IMAGE_CLASSIFIED,
        subject=cause.subject,
        datacontenttype="application/json",
        data=json.dumps({"bytes": len(cause.data)}).encode(),
        extensions={"causeid": cause.id, "causesource": cause.source},
    )
    headers, body = encode_binary(reply)
    return respond(200, body, *headers.items())


def test_through_the_cloud_each_image_goes_over_the_link_and_its_prediction_comes_back(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    place = tmp_path / "cloud"
    place.mkdir()
    write_site(place / "sites", SITE)
    with (
        open_server(predict) as function,
        receiving(place, folder=place / "received", functions=json.dumps({"digits": f"{function.url}/"})) as cloud,
    ):
        to, authorities = f"https://127.0.0.1:{cloud.port}", place / "credentials" / "tls.crt"
        edge = Edge(harness, tiny_artifact, tmp_path, to, authorities=authorities)
        with harness.open_sink() as sink:
            out = TriggerSpec(name="out", filter={"type": IMAGE_CLASSIFIED}, url=sink.url)
            edge.deploy(replace(edge.app, triggers=(*edge.app.triggers, out), through="cloud"))
            edge.put(4)
            wait_until(lambda: {event.subject for event in sink.received} == subjects(4), 60, what="four predictions")
            assert {event.source for event in sink.received} == {"/eaves/cloud/digits"}
        assert {decode(asked.headers, asked.body).subject for asked in function.asked} == subjects(4)
        (status,) = harness.platform.status()
        assert (status.state, status.replicas) == ("idle", 0), "the function here was not asked"
        assert received(folder_of(cloud)) == []
