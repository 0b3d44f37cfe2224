"""Cameras that want the password in the path: it is filled in from a file, and the agent shows it nowhere."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.fakes.sources.camera.rtsp import RtspCamera, RtspRequest, RtspSession, open_rtsp_camera
from tests.fakes.sources.camera.rtsp_faults import hang, refuse_login
from tests.inputs import hostile
from tests.inputs.videos import make_video
from tests.ports import find_port
from tests.processes.agents import AgentProcess
from tests.waiting import wait_until

PASSWORD = "ge_heim/&1é"
PATH = "user={username}_password={password}_channel=1"
FILLED = f"user=gate_password={quote(PASSWORD, safe='')}_channel=1"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "login"
    folder.mkdir()
    (folder / "username").write_text("gate\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    return folder


def find_forms(folder: Path, *texts: str) -> Iterator[str]:
    """Yield where a form of the password is, in texts and in files of an agent."""
    for form in (PASSWORD, quote(PASSWORD, safe=""), "ge_heim", "SECRET"):
        yield from (f"{form} in {text[:200]}" for text in texts if form in text)
        for path in folder.rglob("*"):
            if path.is_file() and form.encode() in path.read_bytes():
                yield f"{form} in {path.name}"


def fail(asked: Asked) -> bytes:
    """Answer with a header that urllib3 logs with the whole address."""
    return respond(503).replace(b"\r\n\r\n", b"\r\nno header at all\r\n\r\n")


def repeat(asked: Asked) -> bytes:
    """Answer with the address in the answer's own media type."""
    return respond(body=b"no image", Content_Type=f"text/{asked.target[1:]}")


def hide_stream(session: RtspSession, request: RtspRequest) -> None:
    """Answer that there is no such stream, with its address."""
    session.respond(request, status=f"404 {request.url}")


def test_a_password_in_the_path_is_shown_nowhere(tmp_path: Path, credentials: Path):
    video = make_video(key_every=5)
    with (
        open_camera(lambda _: respond(body=hostile.good("JPEG"))) as web,
        open_camera(fail) as failing,
        open_camera(repeat) as repeating,
        open_rtsp_camera(video) as stream,
        open_rtsp_camera(video, answers={"DESCRIBE": hide_stream}) as missing,
        open_rtsp_camera(video, answers={"DESCRIBE": refuse_login}) as refusing,
        open_rtsp_camera(video, hang) as silent,
    ):
        sources = [
            build("http", "web", web),
            build("http", "failing", failing),
            {**build("http", "repeating", repeating), "url": f"{repeating.url}/{{username}}/{{password}}"},
            {**build("http", "written", web), "url": f"{web.url}/user=a_password=SECRET_channel=1.jpg"},
            {**build("http", "wrong", failing), "url": f"{failing.url}/user=a_password=SECRET_channel=1.jpg"},
            build("camera", "stream", stream),
            build("camera", "missing", missing),
            build("camera", "refusing", refusing),
            build("camera", "silent", silent),
            {**build("camera", "away", stream), "url": f"rtsp://127.0.0.1:{find_port()}/{PATH}?x"},
        ]
        for source in sources:
            source["credentials"] = str(credentials)
        folder = tmp_path / "agent"
        agent = AgentProcess(folder, f"http://127.0.0.1:{find_port()}/", EAVES_SOURCES=json.dumps(sources))
        agent.start()

        def find_states() -> dict[str, str]:
            found = json.loads(agent.get("/health")[1])["report"]["sources"]
            return {one["name"]: f"{one['state']} {one['reason']}" for one in found}

        try:
            wait_until(lambda: read_subjects(agent.spool) >= {"web", "written", "stream"}, 40, what="images")
            for name in ("failing", "wrong", "repeating", "missing", "refusing", "silent", "away"):
                wait_until(lambda name=name: find_states()[name].startswith("waiting "), 40, what=name)  # type: ignore[misc]
            states = find_states()
            asked = agent.ask_queue("list", lane="images", state="dead"), agent.ask_queue("status")
            shown = [str(states), str(asked), agent.get("/health")[1], agent.get("/metrics")[1]]
        finally:
            agent.stop()
        assert read_subjects(agent.spool) == {"web", "written", "stream"}
        assert list(find_forms(folder, *shown)) == []
        assert f"{failing.url}/{PATH}?channel=1 answers with status 503" in states["failing"]
        assert "/user=a_password=***_channel=1.jpg answers with status 503" in states["wrong"]
        assert f"/gate/{quote(PASSWORD, safe='')}" in {one.target for one in repeating.asked}
        for camera in (web, failing):
            assert f"/{FILLED}?channel=1" in {one.target for one in camera.asked}
        assert {request.url.rpartition("/")[2] for request in stream.requests if request.method == "DESCRIBE"} == {
            f"{FILLED}?channel=1"
        }


def build(kind: str, name: str, camera: FakeCamera | RtspCamera) -> dict[str, object]:
    """A source of a camera whose address has the placeholders in its path."""
    address = camera.url if isinstance(camera, FakeCamera) else camera.url().rpartition("/")[0]
    limits = {"every_s": 0.2, "timeout_s": 5} if kind == "http" else {"silent_s": 1, "connect_timeout_s": 2}
    return {"name": name, "kind": kind, "url": f"{address}/{PATH}?channel=1", **limits}


def read_subjects(spool: Path) -> set[str]:
    """The subjects of the events in a spool."""
    if not spool.exists():
        return set()
    with closing(sqlite3.connect(spool)) as database:
        rows = database.execute("SELECT attributes FROM events")
        return {json.loads(attributes)["subject"] for (attributes,) in rows}
