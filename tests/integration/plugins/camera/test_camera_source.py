"""A camera source and decoders that hang, crash, lie and flood: each is noticed, ended and replaced."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import SpoolFullError
from eaves.events import Event
from eaves.sources.agent.context import SILENT_S
from tests.fakes.clock import ManualClock
from tests.fakes.sources.camera.scripted_decoder import build_command
from tests.proc import count_descriptors, is_running, memory_bytes
from tests.sources.running_camera import (
    RunningCamera,
    find_decoders,
    run_camera,
    the_decoder,
    turn_until,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a camera's file is a device

PASSWORD = "gr3en/hou$e"


@pytest.fixture
def login(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "username").write_text("admin\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    return folder


def test_a_silent_decoder_is_replaced_whatever_it_ignores():
    with run_camera(command=build_command("stubborn"), silent_s=1) as camera:
        camera.wait_for(1)
        pid, began = the_decoder(), time.monotonic()
        camera.wait_for_state("waiting", "no data from the camera for 1 s; connecting again")
        assert time.monotonic() - began < 1 + 1 + 2 + 1
        camera.wait_for(2)
        assert the_decoder() != pid
        assert camera.context.counters.reconnects >= 1


def test_a_silent_camera_is_noticed_after_fifteen_seconds_by_the_agents_clock():
    clock = ManualClock()
    with run_camera(command=build_command("silent"), clock=clock) as camera:
        camera.wait_for(1)
        passed = turn_until(clock, lambda: camera.state[0] == "waiting", at_most_s=20, between_decoders=False)
        assert 14.5 < passed < 17


def test_what_a_dead_decoder_started_is_ended_too(tmp_path: Path):
    file = tmp_path / "pid"
    with run_camera(command=build_command("orphan", str(file)), silent_s=1) as camera:
        orphan = wait_until(lambda: file.read_text() if file.exists() else "", what="what the decoder started")
        camera.wait_for(2, timeout_s=10)
        assert not is_running(int(orphan))


def test_a_stream_with_data_and_without_frames_is_connected_again():
    clock = ManualClock()
    limits: dict[str, Any] = {"every_s": 10, "silent_s": 250, "connect_timeout_s": 120}
    with run_camera(command=build_command("no_frames"), clock=clock, **limits) as camera:
        pid = the_decoder()
        reason = "no whole frame for 140 s"
        turn_until(clock, lambda: reason in camera.state[1], at_most_s=150, step_s=1, between_decoders=False)
        wait_until(lambda: pid not in find_decoders())


@pytest.mark.parametrize("script", ["half", "garbage", "lies 0"])
def test_a_decoder_that_writes_no_messages_is_replaced(script: str):
    with run_camera(command=build_command(*script.split())) as camera:
        pid = the_decoder()
        camera.wait_for_state("waiting", "the decoder broke: ")
        assert pid not in find_decoders()


def test_a_crash_is_logged_once_with_the_last_lines_and_without_the_password(
    login: Path, caplog: pytest.LogCaptureFixture
):
    with run_camera(command=build_command("crash"), credentials=login) as camera:
        camera.wait_for(3)
        camera.wait_for_state("waiting", "was ended by signal 11")
    logged = [record.getMessage() for record in caplog.records if "last output" in record.getMessage()]
    assert len(logged) == 1
    assert "line 299 of rtsp://" in logged[0]
    assert "line 199 " not in logged[0]
    assert PASSWORD not in caplog.text
    assert "gr3en%2F" not in caplog.text


def test_a_source_that_hangs_does_not_seem_alive_because_frames_come():
    clock, over, hangs = ManualClock(), threading.Event(), threading.Event()

    class Hanging(RunningCamera):
        def store(self, event: Event) -> bool:
            hangs.set()
            over.wait()
            return super().store(event)

    with run_camera(command=build_command("flood"), clock=clock, camera=Hanging()) as camera:
        try:
            assert hangs.wait(10)
            clock.turn(SILENT_S + 1)
            time.sleep(0.5)  # frames come all the time
            assert camera.context.silent
        finally:
            over.set()


@pytest.mark.parametrize("script", ["mute", "stubborn"])
def test_the_agent_stops_within_two_seconds_and_nothing_is_left(script: str):
    descriptors, threads = count_descriptors(), threading.active_count()
    with run_camera(command=build_command(script)) as camera:
        if script == "mute":
            the_decoder()
        else:
            camera.wait_for(1)
        began = time.monotonic()
        camera.stop()
        assert time.monotonic() - began < (2.0 if script == "stubborn" else 0.8)
        assert not find_decoders()
    assert (count_descriptors(), threading.active_count()) == (descriptors, threads)


def test_a_refused_password_is_tried_again_after_five_minutes_or_when_it_changes(login: Path):
    clock = ManualClock()
    with run_camera(command=build_command("refuse", "new"), clock=clock, credentials=login) as camera:
        turn_until(clock, lambda: "refused the user name or the password" in camera.state[1], at_most_s=10)
        assert "after 5 minutes" in camera.state[1]
        began = clock.monotonic()
        started = turn_until(clock, find_decoders, at_most_s=340, step_s=2)
        assert started >= 298
        turn_until(clock, lambda: not find_decoders(), at_most_s=10)
        (login / "password").write_text("new")
        passed = turn_until(clock, lambda: camera.events, at_most_s=20)
        assert passed < 10
        assert began


def test_a_decoder_gets_nothing_of_the_agents_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EAVES_SOURCES", '[{"url": "rtsp://u:p@cam"}]')
    monkeypatch.setenv("FFREPORT", "file=/tmp/report")
    with run_camera(command=build_command("show_environ")) as camera:
        camera.wait_for_state("waiting", "PYTHONPATH")
        names = set(camera.state[1].split())
    assert names <= {"PATH", "LANG", "LC_CTYPE", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}


def test_a_full_queue_keeps_the_newest_frame_and_counts_the_others():
    with run_camera(command=build_command("live")) as camera:
        camera.wait_for(2)
        camera.refuse = SpoolFullError("spool is full (1 GB)")
        camera.wait_for_state("paused", "capture is paused until events are delivered")
        stored = len(camera.events)
        wait_until(lambda: camera.dropped.get("spool_full", 0) >= 10)
        camera.refuse = None
        camera.wait_for_state("watching")
        assert len(camera.events) > stored
        assert camera.dropped["spool_full"] >= 10


def test_a_camera_that_ends_each_stream_after_a_frame_fills_no_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    with run_camera(command=build_command("one"), clock=clock) as camera:
        turn_until(clock, lambda: len(camera.events) >= 25, at_most_s=120, step_s=1)
    changes = [record for record in caplog.records if record.getMessage().startswith("source cam is")]
    assert len(changes) <= 8
    assert len({event.id for event in camera.events}) == len(camera.events)


def test_a_missing_file_is_played_within_seconds_of_its_arrival(tmp_path: Path):
    clock, path = ManualClock(), tmp_path / "later.mp4"
    with run_camera(str(path), command=build_command("play"), clock=clock) as camera:
        camera.wait_for_state("waiting", f"there is no file {path}")
        turn_until(clock, lambda: clock.monotonic() > 3600, at_most_s=3700, step_s=60)
        path.write_bytes(b"1")
        assert turn_until(clock, find_decoders, at_most_s=5) <= 4
        camera.wait_for(1)


# Many reconnects


def write_stream(path: Path) -> tuple[str, ...]:
    """The command of the cheapest decoder: it prints one frame and ends."""
    script = "import sys; from tests.fakes.sources.camera.scripted_decoder import *; send(OPENED, build_frame(0))"
    path.write_bytes(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    return ("cat", str(path))


@pytest.mark.long("200 connections, or 10,000")
@pytest.mark.parametrize("reconnects", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_threads_and_descriptors_are_flat_over_many_reconnects(reconnects: int, tmp_path: Path):
    command = write_stream(tmp_path / "decoder-output")
    clock = ManualClock()
    with run_camera(command=command, clock=clock, connect_timeout_s=120) as camera:
        turn_until(clock, lambda: len(camera.events) >= 50, at_most_s=1e9, step_s=3.1)
        held = memory_bytes(), count_descriptors(), threading.active_count()
        turn_until(clock, lambda: len(camera.events) >= reconnects, at_most_s=1e9, step_s=3.1)
        camera.events.clear()
        grown = memory_bytes() - held[0]
        assert grown < 2e6 + reconnects * 1_500, "the events that the test keeps take about a kilobyte each"
        assert count_descriptors() <= held[1] + 8, "a process that is being started takes 8"
        assert threading.active_count() <= held[2] + 1
