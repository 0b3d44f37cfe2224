"""A camera that wants its user and password in the query gets them from files, and nobody sees them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests import hostile
from tests.fakes.camera import open_camera, respond
from tests.fakes.source_context import RecordingContext
from tests.integration.test_http_source import polling
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
