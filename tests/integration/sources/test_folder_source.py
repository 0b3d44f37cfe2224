"""The folder source as a real agent process, and a sink that is a real HTTP server."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CAPTURED
from tests.contract.sinks import LocalSink, Reported, of, open_sink
from tests.inputs.certificates import make_certificate
from tests.processes.agents import AgentProcess, folder_source
from tests.processes.commands import run_command
from tests.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


class Agent(AgentProcess):
    """One agent process on one folder."""

    def start(self, *, waits_for: str = "is watching") -> None:
        before = self.logged(waits_for)
        super().start()
        wait_until(lambda: self.logged(waits_for) > before, 20, what="the agent")

    def state(self) -> str:
        """State of its source."""
        return str(json.loads(self.get("/health")[1])["report"]["sources"][0]["state"])

    def logged(self, text: str) -> int:
        """How often this stands in the log."""
        return self.log.read_text().count(text) if self.log.exists() else 0


@pytest.fixture
def agent(tmp_path: Path, sink: LocalSink, request: pytest.FixtureRequest) -> Iterator[Agent]:
    made = Agent(tmp_path, sink.url, **getattr(request, "param", {}))
    try:
        yield made
    finally:
        made.stop(signal.SIGKILL)


def subjects(sink: LocalSink) -> list[str]:
    return sorted(event.subject or "" for event in sink.received)


POLLING = pytest.mark.parametrize(
    "agent", [{}, {"source": {"polling": True}}], ids=["kernel", "polling"], indirect=True
)


@POLLING
@pytest.mark.long("files settle before they are sent")
def test_every_image_becomes_one_event_wherever_it_comes_from(agent: Agent, sink: LocalSink):
    (agent.inbox / "before.png").write_bytes(PNG)
    agent.start()
    (agent.inbox / "north").mkdir()
    (agent.inbox / "north" / "written ü.png").write_bytes(PNG + b"1")
    (agent.inbox / ".hidden.jpg").write_bytes(PNG + b"2")
    (agent.inbox / ".hidden.jpg").rename(agent.inbox / "moved.jpg")
    wait_until(lambda: len(sink.received) == 3, 20, what="three events")
    assert subjects(sink) == ["before.png", "moved.jpg", "north/written ü.png"]
    written = of(sink, "north/written ü.png")[0]
    assert (written.type, written.source, written.data) == (IMAGE_CAPTURED, "/eaves/test/cam", PNG + b"1")
    assert written.datacontenttype == "image/png"
    assert written.extensions["partitionkey"] == "north"
    assert of(sink, "moved.jpg")[0].extensions["partitionkey"] == "cam"


@pytest.mark.parametrize("pause_s", [0.6, 0.03], ids=["slowly", "fast"])
@pytest.mark.long("files settle before they are sent")
def test_a_file_that_is_overwritten_in_place_is_sent_whole_and_in_its_versions(
    agent: Agent, sink: LocalSink, pause_s: float
):
    agent.start()
    count = 8 if pause_s > 0.5 else 100
    for number in range(count):
        with (agent.inbox / "latest.png").open("wb", buffering=0) as stream:  # as a camera does, in two writes
            stream.write(PNG + bytes([number]) * 1000)
            stream.write(bytes([number]) * 1000 + b"end")
        threading.Event().wait(pause_s)
    wait_until(lambda: any(event.data[-4] == count - 1 for event in sink.received), 20, what="the last version")
    found = [event.data[-4] for event in sink.received]
    assert all(event.data == PNG + bytes([event.data[-4]]) * 2000 + b"end" for event in sink.received)
    assert found == sorted(set(found))
    assert found == list(range(count)) if pause_s > 0.5 else len(found) >= 3


def test_a_folder_that_is_missing_is_waited_for_and_watched_whenever_it_is_made(agent: Agent, sink: LocalSink):
    agent.inbox.rmdir()
    agent.start(waits_for="capture is paused until it can be opened")
    for number in range(3):
        agent.inbox.mkdir()
        wait_until(lambda: agent.state() == "watching", 20, what="the watch")
        (agent.inbox / f"{number}.png").write_bytes(PNG)  # the kernel tells: the next scan is a minute away
        wait_until(lambda: of(sink, f"{number}.png"), 20, what="the image")  # noqa: B023
        (agent.inbox / f"{number}.png").unlink()
        agent.inbox.rmdir()
        wait_until(lambda: agent.state() == "waiting", 20, what="the folder's end")
    assert agent.stop() == 0


def test_after_a_restart_only_new_images_are_sent_and_a_changed_one_is_new(agent: Agent, sink: LocalSink):
    (agent.inbox / "old.png").write_bytes(PNG)
    (agent.inbox / "changed.png").write_bytes(PNG)
    agent.start()
    wait_until(lambda: len(sink.received) == 2, 20, what="both images")
    first = {event.subject: event.id for event in sink.received}
    assert agent.stop(signal.SIGINT) == 0
    (agent.inbox / "changed.png").write_bytes(PNG + b"changed")
    (agent.inbox / "new.png").write_bytes(PNG)
    agent.start()
    wait_until(lambda: len(sink.received) == 4, 20, what="the changed and the new one")
    assert subjects(sink) == ["changed.png", "changed.png", "new.png", "old.png"]
    assert of(sink, "changed.png")[1].id != first["changed.png"]


def test_what_was_found_while_the_sink_was_down_arrives_later_even_after_a_kill(agent: Agent, sink: LocalSink):
    up = False
    sink.decide = lambda event: Reported() if up else Reported(status=503)
    agent.start()
    for number in range(5):
        (agent.inbox / f"{number}.png").write_bytes(PNG + bytes([number]))
    wait_until(lambda: sink.received, 20, what="an attempt")
    agent.stop(signal.SIGKILL)
    for path in agent.inbox.iterdir():
        if path.name in subjects(sink):
            path.unlink()  # its bytes must be in the spool already
    up = True
    sink.received.clear()
    agent.start()
    wait_until(lambda: len(set(subjects(sink))) == 5, 30, what="all five")


def test_what_a_sink_binding_sets_is_used(tmp_path: Path):
    """Extensions of every event, and the authority of a sink, as with Knative's transport encryption."""
    certificate = make_certificate(tmp_path / "tls")
    binding: dict[str, Any] = {
        "K_CA_CERTS": certificate[0].read_text(),
        "K_CE_OVERRIDES": '{"extensions": {"rack": "7"}}',
    }
    with open_sink(certificate) as sink, Agent(tmp_path, sink.url, **binding) as agent:
        (agent.inbox / "a.png").write_bytes(PNG)
        wait_until(lambda: sink.received, 20, what="the event")
    assert sink.url.startswith("https://")
    assert [(event.subject, event.extensions["rack"]) for event in sink.received] == [("a.png", "7")]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"EAVES_SPOOL_MAX_BYTES": "2000000"}, "spool_max_bytes: must fit an image of max_bytes"),
        ({"K_CE_OVERRIDES": '{"extensions": {"id": "1"}}'}, "'id' is an attribute of the event itself"),
        ({"K_CA_CERTS": "no certificate"}, "K_CA_CERTS: ca_certs: it contains no certificate in PEM form"),
        ({"HTTPS_PROXY": "socks5://proxy.example"}, "HTTPS_PROXY: must be the address of a proxy"),
    ],
)
def test_bad_settings_end_the_agent_with_what_to_do(
    environ: dict[str, str], message: str, tmp_path: Path, sink: LocalSink
):
    base = {
        "PATH": os.environ["PATH"],
        "K_SINK": sink.url,
        "EAVES_SOURCES": folder_source(tmp_path),
        "EAVES_SPOOL": str(tmp_path / "s.db"),
    }
    command = [sys.executable, "-P", "-m", "eaves.sources"]
    done = run_command(command, env={**base, **environ}, timeout=30)
    assert done.returncode == 78
    assert message in done.stderr
