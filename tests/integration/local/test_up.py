"""`eaves up` as a process, where the contract is silent: its start, its files, its doors."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from eaves.artifact import open_artifact
from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from eaves.local.state import StateDirectory
from tests.contract.harness import LocalHarness, status_of
from tests.integration.local.apps import digits_app
from tests.ports import find_port
from tests.waiting import wait_until


def captured(number: int) -> tuple[dict[str, str], bytes]:
    event = Event(id=str(number), source="/eaves/test/x", type=IMAGE_CAPTURED, datacontenttype="image/png", data=b"x")
    return encode_binary(event)


def post(url: str, headers: dict[str, str], body: bytes) -> int:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def url_of(harness: LocalHarness) -> str:
    def find() -> list[str]:
        return [line for line in harness.log().splitlines() if line.startswith("http://")]

    wait_until(find, 10, what="the line with the broker's address")  # written once the platform answers
    return find()[-1]


def test_a_second_platform_at_the_port_is_told_of_a_free_one(harness: LocalHarness, tmp_path: Path) -> None:
    port = find_port()
    harness.start(port=port)
    (tmp_path / "eaves.yaml").touch()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "eaves.cli", *words]
        environ = {**os.environ, "EAVES_UP_PORT": str(port)}
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    second = run("up", "--port", str(port))
    assert second.returncode == 69, second.stderr
    assert f"error: port {port} can't be used: Address already in use\n" in second.stderr
    assert "run this project beside it, on a free port: `eaves up --port 0`" in second.stderr
    shutil.rmtree(tmp_path / ".eaves", ignore_errors=True)
    for command in ("status", "events"):
        assert (
            f"`eaves up` is not running here, but port {port} is in use, perhaps by the `eaves up` of another project: "
            in run(command).stderr
        )
    (tmp_path / "eaves.yaml").unlink()
    lost = run("up")
    assert "holds no eaves.yaml and no .eaves, so nothing is deployed here\ntry: run `eaves up` in" in lost.stderr
    assert not (tmp_path / ".eaves").exists()


def test_every_event_acknowledged_while_up_starts_is_queued(harness: LocalHarness, tmp_path: Path) -> None:
    harness.state.mkdir(mode=0o700)
    StateDirectory(root=harness.state).write_spec(digits_app(tmp_path / "no such artifact"))
    port = find_port()
    accepted: list[int] = []
    done = threading.Event()

    def knock() -> None:
        for number in range(100_000):
            if done.is_set():
                return
            try:
                if post(f"http://127.0.0.1:{port}/", *captured(number)) == 202:
                    accepted.append(number)
            except OSError:
                continue

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        harness.start(port=port)
        wait_until(lambda: len(accepted) > 20, 30, what="acknowledgements")
    finally:
        done.set()
        thread.join()
    (status,) = harness.platform.status()
    assert (status.queued + status.dead) == len(accepted)


def test_an_app_that_was_never_readable_keeps_the_broker_from_taking_what_it_may_want(harness: LocalHarness) -> None:
    state = StateDirectory(root=harness.state)
    state.prepare()
    (state.specs / "digits.json").write_text("{")
    harness.start()
    assert post(url_of(harness), *captured(1)) == 503
    harness.platform.remove("digits")
    assert post(url_of(harness), *captured(1)) == 202


def test_a_state_directory_may_have_a_long_path_is_its_users_and_serves_one_platform(tmp_path: Path) -> None:
    """The path of a Unix socket has at most 107 bytes; it is reached through its folder."""
    harness = LocalHarness(tmp_path / ("s" * 120))
    harness.start()
    try:
        headers, body = captured(1)
        assert post(url_of(harness), headers, body) == 202
        assert post(url_of(harness), {**headers, "Host": "evil.example"}, body) == 403
        assert harness.platform.status() == []
        assert stat.S_IMODE(harness.state.stat().st_mode) == 0o700
        assert stat.S_IMODE((harness.state / "control.sock").stat().st_mode) == 0o600
        command = [sys.executable, "-P", "-m", "eaves.cli", "up", "--port", "0", "--state", str(harness.state)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, "another `eaves up` runs" in done.stderr) == (69, True)
    finally:
        harness.stop()


def test_an_artifact_that_changed_since_it_was_deployed_is_not_served(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
) -> None:
    swapped = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, swapped)
    wanted = digits_app(swapped)
    function = replace(wanted.function, artifact_digest=open_artifact(swapped).digest)
    harness.start()
    harness.deploy(replace(wanted, function=function))
    manifest = json.loads((swapped / "manifest.json").read_text())
    (swapped / "manifest.json").write_text(json.dumps({**manifest, "version": "other"}))
    assert post(url_of(harness), *captured(1)) == 202
    wait_until(lambda: "was deployed" in status_of(harness.platform).reason, 60, what="the refusal")


def test_a_burst_of_signals_stops_it_in_good_order(harness: LocalHarness) -> None:
    harness.start()
    process = harness.process
    with contextlib.suppress(ProcessLookupError):
        for _ in range(200):
            os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert "Traceback" not in harness.log()
    assert not (harness.state / "control.sock").exists()
