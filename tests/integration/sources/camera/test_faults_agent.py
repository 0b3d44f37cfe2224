"""A real agent with real cameras, by RTSP, RTMP, MJPEG and from a file, and with cameras that do wrong beside them."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from tests.contract.sinks import open_sink
from tests.fakes.http.camera import FakeCamera, open_camera
from tests.fakes.sources.camera.mjpeg import stream_live
from tests.fakes.sources.camera.rtsp import open_rtsp_camera
from tests.fakes.sources.camera.rtsp_faults import hang, refuse_login
from tests.inputs.videos import make_video, read_number
from tests.processes.agents import AgentProcess
from tests.processes.rtmp_server import run_rtmp_server
from tests.processes.rtsp_server import run_rtsp_server
from tests.sources.running_camera import find_decoders
from tests.waiting import wait_until

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device
USER, PASSWORD = "camera", "s3cret-word"
GOOD = ("rtsp", "rtmp", "mjpeg", "recording")


def test_cameras_that_do_wrong_harm_no_others(tmp_path: Path) -> None:
    """Four cameras work, two never do, and one stops answering for a while; nothing shows a password."""
    video, jpegs = make_video(key_every=5), make_video("mjpeg")
    recording = jpegs.write(tmp_path / "recording.mkv")
    (tmp_path / "login").mkdir()
    (tmp_path / "login" / "username").write_text(USER)
    (tmp_path / "login" / "password").write_text(PASSWORD)
    fakes: list[FakeCamera] = []
    with (
        open_sink() as sink,
        run_rtsp_server(tmp_path / "rtsp", {"/stream": video}, user=USER, password=PASSWORD) as server,
        run_rtmp_server(tmp_path / "rtmp", video) as rtmp,
        open_camera(lambda _: stream_live(fakes[0], jpegs)) as mjpeg,
        open_rtsp_camera(video, answers={"DESCRIBE": refuse_login}) as refusing,
        open_rtsp_camera(video, hang) as silent,
    ):
        fakes.append(mjpeg)
        urls = {
            "rtsp": server.url(),
            "rtmp": rtmp.url,
            "mjpeg": f"{mjpeg.url}/video.mjpg",
            "recording": str(recording),
            "refusing": refusing.url(),
            "silent": silent.url(),
        }
        shared = {"kind": "camera", "credentials": str(tmp_path / "login"), "silent_s": 1, "connect_timeout_s": 2}
        sources = [{"name": name, "url": url, **shared} for name, url in urls.items()]
        agent = AgentProcess(tmp_path / "agent", sink.url, EAVES_SOURCES=json.dumps(sources))
        agent.start()
        try:
            captured: Counter[str] = Counter()

            def count() -> Counter[str]:
                captured.clear()
                captured.update(event.source.rpartition("/")[2] for event in list(sink.received))
                return captured

            wait_until(lambda: all(count()[name] >= 4 for name in GOOD), 40, what=f"frames: {captured}")
            server.signal(SIGSTOP)
            wait_until(lambda: state(agent, "rtsp") == "waiting", 10, what="a silent camera")
            seen = [read(pid) for pid in (agent.pid, *find_decoders(agent.pid))]
            server.signal(SIGCONT)
            wait_until(lambda: state(agent, "rtsp") == "watching", 10, what="the camera's return")
            before = count()["rtsp"]
            wait_until(lambda: count()["rtsp"] > before, 10, what="a frame after the return")
            began = time.monotonic()
        finally:
            agent.stop()
        assert time.monotonic() - began < 3
    assert [state for state in seen if PASSWORD.encode() in state] == []
    log = agent.log.read_text()
    assert PASSWORD not in log
    assert "refused the user name or password" in log
    changes = Counter(line for line in log.splitlines() if "is waiting" in line)
    assert sum(changes.values()) <= 12, changes
    numbers, ids = defaultdict(list), [(event.source, event.id) for event in sink.received]
    for event in sink.received:
        assert PASSWORD not in str(event)
        numbers[event.source.rpartition("/")[2]].append(read_number(event.data))
    assert len(set(ids)) == len(ids)
    assert set(numbers) == set(GOOD)
    assert len(set(numbers["recording"])) == len(numbers["recording"])  # a slow machine may skip some


def state(agent: AgentProcess, name: str) -> str:
    report = json.loads(agent.get("/health")[1])["report"]
    return next(str(source["state"]) for source in report["sources"] if source["name"] == name)


def read(pid: int) -> bytes:
    """What other users may see of a process, and its environment."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
