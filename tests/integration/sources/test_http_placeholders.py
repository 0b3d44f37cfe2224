"""A camera that wants its user and password in the query gets them from files, and nobody sees them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.fakes.http.camera import Asked, open_camera, respond
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs import hostile
from tests.integration.sources.http.polling import polling
from tests.processes.agents import AgentProcess
from tests.waiting import wait_until


def test_what_a_query_needs_comes_from_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "username").write_text("gate")
    (tmp_path / "password").write_text("geheim&1")
    context = RecordingContext()
    context.credentials = tmp_path
    with caplog.at_level(logging.INFO), open_camera(lambda _: respond(body=hostile.good("JPEG"))) as camera:
        with polling(f"{camera.url}/api.cgi?cmd=Snap&user={{username}}&password={{password}}", context):
            wait_until(lambda: context.frames, 20, what="a picture")
        assert camera.asked[0].target == "/api.cgi?cmd=Snap&user=gate&password=geheim%261"
    shown = f"{context.states} {[frame.subject for frame in context.frames]} {caplog.text}"
    assert "geheim" not in shown


def test_a_camera_that_fails_shows_nobody_what_was_filled_in_under_whatever_name(tmp_path: Path) -> None:
    """The address in the state has its placeholders; urllib3, which logs whole addresses, is not heard."""
    (tmp_path / "username").write_text("gate")
    (tmp_path / "password").write_text("geheim1")

    def answer(_: Asked) -> bytes:
        return respond(503).replace(b"\r\n\r\n", b"\r\nno header at all\r\n\r\n")

    with open_camera(answer) as camera:
        url = f"{camera.url}/snap?who={{username}}&how={{password}}"
        source = {"name": "gate", "kind": "http", "url": url, "every_s": 0.05, "credentials": str(tmp_path)}
        agent = AgentProcess(tmp_path / "agent", "", EAVES_SOURCES=json.dumps([source]))
        agent.start()
        try:
            wait_until(lambda: "answers with status 503" in agent.log.read_text(), 30, what="the fault in the log")
            shown = agent.get("/health")[1] + agent.get("/metrics")[1] + agent.log.read_text()
        finally:
            agent.stop()
        assert "how=geheim1" in camera.asked[0].target
    assert f"{url} answers with status 503" in shown
    assert "geheim1" not in shown


def test_another_password_makes_no_other_image(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("gate")
    positions = set()
    with open_camera(lambda _: respond(body=hostile.good("JPEG"), ETag='"1"')) as camera:
        for password in ("old", "new"):
            (tmp_path / "password").write_text(password)
            context = RecordingContext()
            context.credentials = tmp_path
            with polling(f"{camera.url}/snap.jpg?who={{username}}&how={{password}}", context):
                wait_until(lambda context=context: context.frames, 20, what="a picture")  # type: ignore[misc]
            positions.add(context.frames[0].position)
            assert context.frames[0].subject == "cam"
    assert len(positions) == 1
