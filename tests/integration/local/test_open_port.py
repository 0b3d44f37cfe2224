"""`eaves up --host`: at a port that other machines reach, every caller needs the token, also one of this machine."""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.events import Event, encode_binary
from eaves.platform import RELAY, SourceSpec
from tests.contract.harness import LocalHarness, open_local_harness, status_of
from tests.integration.local.apps import digits_app
from tests.ports import find_port
from tests.waiting import wait_until

UP = [sys.executable, "-P", "-m", "eaves.cli", "up"]
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


def ask(host: str, port: int, headers: dict[str, str] | None = None, *, path: str = UNKNOWN, body: bytes = b"") -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("POST", path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    with open_local_harness(start=False) as made:
        yield made


def test_every_caller_needs_the_token(harness: LocalHarness) -> None:
    address, port = find_address(), find_port()
    token = harness.state.with_name("token")
    harness.start(port, "--host", "0.0.0.0", "--token-file", str(token))
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    said = f"every caller needs the token in {token}, at 127.0.0.1 too; requests are sent unencrypted\n"
    wait_until(lambda: said in harness.log(), 10, what="the line about the token")
    assert f"\nhttp://127.0.0.1:{port}/\n" in "\n" + harness.log()
    with_token = {"Authorization": f"Bearer {token.read_text().strip()}"}
    for host in ("127.0.0.1", address):
        assert ask(host, port) == 401
        assert ask(host, port, {"Host": "localhost"}) == 401
        assert ask(host, port, {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}) == 401
        assert ask(host, port, {"Authorization": "Bearer wrong"}) == 401
        assert ask(host, port, with_token) == 404
        assert ask(host, port, {**with_token, "Origin": "http://evil.example"}) == 403
    headers, body = encode_binary(Event(id="1", source="/eaves/test/x", type="t", data=b""))
    assert ask("127.0.0.1", port, headers, path="/", body=body) == 401
    assert ask("127.0.0.1", port, {**with_token, **headers}, path="/", body=body) == 202


def test_sources_and_commands_of_the_machine_still_reach_the_platform(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
) -> None:
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
        done = run(tmp_path, *arguments, "--state", str(harness.state))
        assert done.returncode == 0, done.stderr
    assert status_of(harness.platform).dead == 0


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "eaves.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_an_address_off_loopback_needs_a_token_file_and_says_how(tmp_path: Path) -> None:
    command = [*UP, "--host", "0.0.0.0", "--state", "my state"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
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
def test_an_address_that_is_not_of_this_machine(tmp_path: Path, options: list[str], message: str) -> None:
    command = [*UP, "--port", "0", "--state", "s", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert message in done.stderr
    assert done.returncode in (69, 78)
    assert "Traceback" not in done.stderr
