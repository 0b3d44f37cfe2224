"""`eaves up` as a process: its start, its files, its doors, what it says and what it asks of callers."""

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.artifact import open_artifact
from eaves.cli import cli
from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, SourceSpec, TriggerSpec
from tests.cli import EAVES, run_eaves
from tests.contract.harness import LocalHarness, status_of
from tests.integration.local.apps import captured, digits_app
from tests.ports import find_port
from tests.processes.commands import run_command
from tests.processes.service import ask
from tests.waiting import wait_until


def post(address: str, event: Event, **more: str) -> int:
    headers, body = encode_binary(event)
    return ask(int(address.rpartition(":")[2]), "POST", "/", body, {**headers, **more})[0]


def test_a_second_platform_at_the_port_is_told_of_a_free_one(
    harness: LocalHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    port = find_port()
    harness.start(port=port)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EAVES_UP_PORT", str(port))
    Path("eaves.yaml").touch()
    command = [*EAVES, "up", "--port", str(port)]
    second = run_command(command, timeout=60)
    assert second.returncode == 69, second.stderr
    assert f"error: port {port} can't be used: Address already in use\n" in second.stderr
    assert "run this project beside it, on a free port: `eaves up --port 0`" in second.stderr
    shutil.rmtree(".eaves", ignore_errors=True)
    for name in ("status", "events"):
        assert (
            f"`eaves up` is not running here, but port {port} is in use, perhaps by the `eaves up` of another project: "
            in run_eaves(name, code=None).stderr
        )
    Path("eaves.yaml").unlink()
    lost = run_eaves("up", code=None).stderr
    assert "holds no eaves.yaml and no .eaves, so nothing is deployed here\ntry: run `eaves up` in" in lost
    assert not Path(".eaves").exists()


def test_every_event_acknowledged_while_up_starts_is_queued(harness: LocalHarness, tmp_path: Path):
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
                if post(f"127.0.0.1:{port}", captured(number)) == 202:
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


def test_an_app_that_was_never_readable_keeps_the_broker_from_taking_what_it_may_want(harness: LocalHarness):
    state = StateDirectory(root=harness.state)
    state.prepare()
    (state.specs / "digits.json").write_text("{")
    harness.start()
    assert post(harness.broker_address(), captured(1)) == 503
    harness.platform.remove("digits")
    assert post(harness.broker_address(), captured(1)) == 202


def test_a_state_directory_may_have_a_long_path_is_its_users_and_serves_one_platform(tmp_path: Path):
    """The path of a Unix socket has at most 107 bytes; it is reached through its folder."""
    harness = LocalHarness(tmp_path / ("s" * 120))
    harness.start()
    try:
        assert post(harness.broker_address(), captured(1)) == 202
        assert post(harness.broker_address(), captured(1), Host="evil.example") == 403
        assert harness.platform.status() == []
        assert stat.S_IMODE(harness.state.stat().st_mode) == 0o700
        assert stat.S_IMODE((harness.state / "control.sock").stat().st_mode) == 0o600
        command = [*EAVES, "up", "--port", "0", "--state", str(harness.state)]
        done = run_command(command, timeout=30)
        assert (done.returncode, "another `eaves up` runs" in done.stderr) == (69, True)
    finally:
        harness.stop()


def test_an_artifact_that_changed_since_it_was_deployed_is_not_served(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    swapped = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, swapped)
    wanted = digits_app(swapped)
    function = replace(wanted.function, artifact_digest=open_artifact(swapped).digest)
    harness.start()
    harness.deploy(replace(wanted, function=function))
    manifest = json.loads((swapped / "manifest.json").read_text())
    (swapped / "manifest.json").write_text(json.dumps({**manifest, "version": "other"}))
    assert post(harness.broker_address(), captured(1)) == 202
    wait_until(lambda: "was deployed" in status_of(harness.platform).reason, 60, what="the refusal")


def test_a_burst_of_signals_stops_it_in_good_order(harness: LocalHarness):
    harness.start()
    process = harness.process
    with contextlib.suppress(ProcessLookupError):
        for _ in range(200):
            os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert "Traceback" not in harness.log()
    assert not (harness.state / "control.sock").exists()


UP = [*EAVES, "up"]
UNKNOWN = f"/functions/{RELAY}"
"""A function that isn't deployed: who is let in gets 404."""


def find_address() -> str:
    """An IPv4 address of this machine off loopback, by which it can be asked as another machine would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing. Source: RFC 5737, an address of documentation
        except OSError:
            pytest.skip("this machine has no address off loopback")
        return str(probe.getsockname()[0])


def ask_port(
    host: str, port: int, headers: dict[str, str] | None = None, *, path: str = UNKNOWN, body: bytes = b""
) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("POST", path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_caller_needs_the_token(harness: LocalHarness):
    address, port = find_address(), find_port()
    token = harness.state.with_name("token")
    harness.start(port, "--host", "0.0.0.0", "--token-file", str(token))
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    said = f"every caller needs the token in {token}, at 127.0.0.1 too; requests are sent unencrypted\n"
    wait_until(lambda: said in harness.log(), 10, what="the line about the token")
    assert f"\nhttp://127.0.0.1:{port}/\n" in "\n" + harness.log()
    with_token = {"Authorization": f"Bearer {token.read_text().strip()}"}
    for host in ("127.0.0.1", address):
        assert ask_port(host, port) == 401
        assert ask_port(host, port, {"Host": "localhost"}) == 401
        assert ask_port(host, port, {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}) == 401
        assert ask_port(host, port, {"Authorization": "Bearer wrong"}) == 401
        assert ask_port(host, port, with_token) == 404
        assert ask_port(host, port, {**with_token, "Origin": "http://evil.example"}) == 403
    headers, body = encode_binary(Event(id="1", source="/eaves/test/x", type="t", data=b""))
    assert ask_port("127.0.0.1", port, headers, path="/", body=body) == 401
    assert ask_port("127.0.0.1", port, {**with_token, **headers}, path="/", body=body) == 202


@pytest.mark.long("a platform and its function start")
def test_sources_and_commands_of_the_machine_still_reach_the_platform(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    """The agent sends the token, a new one too; commands and the console use the Unix socket."""
    inbox, token, port = tmp_path / "inbox", harness.state.with_name("token"), find_port()
    inbox.mkdir()
    image = tiny_artifact / "golden/000.png"
    source = SourceSpec(name="inbox", options={"path": str(inbox)})
    harness.start(port, "--host", "0.0.0.0", "--token-file", os.path.relpath(token))
    harness.platform.deploy(digits_app(tiny_artifact, source))
    shutil.copy(image, inbox / "a.png")
    wait_until(lambda: status_of(harness.platform).delivered == 1, 60, what="the source's image")
    token.write_text("another-token-of-this-platform\n")
    shutil.copy(image, inbox / "b.png")
    wait_until(lambda: status_of(harness.platform).delivered == 2, 60, what="the next image")
    for arguments in (["send", str(image)], ["status"], ["queue"], ["events"]):
        run_eaves(*arguments, "--state", harness.state)
    assert status_of(harness.platform).dead == 0


def test_an_address_off_loopback_needs_a_token_file_and_says_how(tmp_path: Path):
    command = [*UP, "--host", "0.0.0.0", "--state", "my state"]
    done = run_command(command, cwd=tmp_path, timeout=60)
    assert done.returncode == 78
    assert "0.0.0.0 is open to other machines, so callers need a token" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("try: ")]
    words = shlex.split(line.removeprefix("try: "), comments=True)
    assert words == ["eaves", "up", "--host", "0.0.0.0", "--token-file", "my state/token"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "no such host.example"], "error: 'no such host.example' is no address of this machine"),
        (["--host", "203.0.113.1", "--token-file", "token"], "Cannot assign requested address\ntry: --host 0.0.0.0 "),
    ],
)
def test_an_address_that_is_not_of_this_machine(tmp_path: Path, options: list[str], message: str):
    command = [*UP, "--port", "0", "--state", "s", *options]
    done = run_command(command, cwd=tmp_path, timeout=60)
    assert message in done.stderr
    assert done.returncode in (69, 78)
    assert "Traceback" not in done.stderr


def test_a_trigger_whose_address_is_down_and_a_source_without_its_folder_are_named(
    harness: LocalHarness, tmp_path: Path
):
    harness.start()
    app = digits_app(tmp_path / "none", SourceSpec(name="inbox", options={"path": str(tmp_path / "gone")}))
    alarm = TriggerSpec(name="alarm", filter={"type": IMAGE_CAPTURED}, url=f"http://127.0.0.1:{find_port()}/")
    harness.platform.deploy(replace(app, triggers=(alarm,)))
    harness.platform.publish(Event(id="1", source="/eaves/test/x", type=IMAGE_CAPTURED, data=b"x"))

    def reasons() -> dict[str, str]:
        return {part.title: part.reason for part in status_of(harness.platform).parts if part.state == "failed"}

    wait_until(lambda: reasons().keys() == {"Trigger alarm", "Source inbox"}, 60, what="both parts in trouble")
    assert all(reasons().values())

    def status() -> str:
        return CliRunner().invoke(cli, ["status", "--state", str(harness.state)], catch_exceptions=False).stdout

    # A trigger that is tried again just now is in no trouble.
    wait_until(lambda: "Trigger alarm" in status(), 60, what="the trigger in the table")
    assert "Source inbox" in status()
    assert harness.log().count("queue trigger/digits/alarm is paused") == 1


def captured_image(number: int, data: bytes) -> Event:
    return Event(
        id=str(number), source="/eaves/test/x", type=IMAGE_CAPTURED, subject=f"{number}.png",
        datacontenttype="image/png", data=data,
    )  # fmt: skip


def test_a_prediction_is_printed_as_it_comes(harness: LocalHarness, tiny_artifact: Path):
    harness.start()
    harness.deploy(digits_app(tiny_artifact))
    harness.platform.publish(captured_image(7, (tiny_artifact / "golden/000.png").read_bytes()))
    wait_until(lambda: "7.png" in harness.log(), 60, what="the prediction's line")
    (line,) = [line for line in harness.log().splitlines() if line.endswith("7.png")]
    assert line.split()[1] == "digits"
    assert 0 <= float(line.split()[-2]) <= 1
    wait_until(lambda: harness.platform.status()[0].delivered, 30, what="the image, delivered")
    assert harness.platform.status()[0].delivered == 1, "its prediction is no second delivery to the function"


@pytest.mark.long("a platform and its function start")
def test_events_that_wait_are_reported_at_the_end_and_delivered_after_a_removal(harness: LocalHarness, tmp_path: Path):
    harness.start()
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    for number in range(3):
        harness.platform.publish(captured_image(number, b"x"))
    harness.stop()
    assert "3 events wait in the queue; `eaves up` delivers them when it runs again" in harness.log()
    harness.start()
    command = [*EAVES, "remove", "digits", "--state", str(harness.state)]
    done = run_command(command, check=True, timeout=60)
    assert "`eaves queue` lists what still waits for it" in done.stderr
    assert harness.platform.status() == []
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    wait_until(lambda: harness.platform.status()[0].queued == 3, 30, what="the events, queued again")
