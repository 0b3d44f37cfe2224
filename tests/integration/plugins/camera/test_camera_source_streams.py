"""A camera source with the real decoder and real servers: outages, silence, passwords, files, the agent's end."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.inputs.videos import make_video, need_av
from tests.processes.agents import AgentProcess
from tests.processes.rtsp_server import run_rtsp_server
from tests.sources.running_camera import find_decoders, run_camera
from tests.waiting import wait_until

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device

BACK_S = 5.0
"""Bar: time from a camera's return to its first frame after an outage of less than two minutes, seconds."""
PASSWORD = "gr3en hou$e"


@pytest.fixture(autouse=True)
def _av() -> None:
    need_av()


@pytest.mark.long("a camera is gone once, or 20 times")
@pytest.mark.parametrize("outages", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_camera_is_back_within_seconds_of_its_return(tmp_path: Path, outages: int):
    chance, back_s = random.Random(outages), []
    with run_rtsp_server(tmp_path, {"/stream": make_video()}) as server, run_camera(server.url()) as camera:
        camera.wait_for(2)
        for _ in range(outages):
            server.stop()
            camera.wait_for_state("waiting")
            time.sleep(chance.uniform(0.5, 30 if outages > 5 else 2.5))  # the length of the outage
            server.start()
            began = time.monotonic()
            camera.wait_for_next()
            back_s.append(time.monotonic() - began)
            camera.wait_for_state("watching")
        assert max(back_s) < BACK_S, f"back after {sorted(back_s)} s"
        assert camera.context.counters.reconnects == outages
        assert len(camera.ids) == len(camera.events)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["in order", "killed"])
def test_a_decoder_ends_with_its_agent(tmp_path: Path, end: signal.Signals):
    with run_rtsp_server(tmp_path, {"/stream": make_video()}) as server:
        sources = [{"name": f"cam{number}", "kind": "camera", "url": server.url()} for number in range(2)]
        agent = AgentProcess(tmp_path / "agent", "http://127.0.0.1:1", EAVES_SOURCES=json.dumps(sources))
        agent.start()
        try:
            wait_until(lambda: _captured(agent) == 2, 30, what="a frame of each camera")
            decoders = find_decoders(agent.pid)
            assert len(decoders) == 2
            began = time.monotonic()
        finally:
            agent.stop(end)
        assert time.monotonic() - began < 3
        wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in decoders), 2, what="their end")
        assert "did not stop" not in agent.log.read_text()


def _captured(agent: AgentProcess) -> int:
    """Number of sources that have captured a frame."""
    report = json.loads(agent.get("/health")[1])["report"]
    return sum(source["captured"] > 0 for source in report["sources"])
