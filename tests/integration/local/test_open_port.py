"""`eaves up --host`: one port for this machine without a token, and for other machines with one."""

from __future__ import annotations

import http.client
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.platform import RELAY
from tests.contract.harness import LocalHarness, open_local_harness
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


def ask(host: str, port: int, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("POST", UNKNOWN, b"", headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    with open_local_harness(start=False) as made:
        yield made


@pytest.mark.parametrize("everywhere", [True, False], ids=["0.0.0.0", "one address"])
def test_other_machines_need_the_token_and_this_one_does_not(harness: LocalHarness, everywhere: bool) -> None:
    address, port = find_address(), find_port()
    token = harness.state.with_name("token")
    harness.start(port, "--host", "0.0.0.0" if everywhere else address, "--token-file", str(token))
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    said = f"requests from other machines need the token in {token}; they are sent unencrypted\n"
    wait_until(lambda: said in harness.log(), 10, what="the line about the token")
    assert f"\nhttp://127.0.0.1:{port}/\n" in "\n" + harness.log()
    with_token = {"Authorization": f"Bearer {token.read_text().strip()}"}
    assert ask("127.0.0.1", port) == 404
    assert ask("127.0.0.1", port, {"Host": "evil.example"}) == 403
    if everywhere:
        assert ask("127.0.0.1", port, {"X-Forwarded-For": "203.0.113.9"}) == 401
        assert ask("127.0.0.1", port, {"Forwarded": "for=203.0.113.9", **with_token}) == 404
    assert ask("127.0.0.1", port, {"Origin": "http://evil.example"}) == 403
    assert ask(address, port) == 401
    assert ask(address, port, {"Host": "127.0.0.1"}) == 401
    assert ask(address, port, {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}) == 401
    assert ask(address, port, {"Authorization": "Bearer wrong"}) == 401
    assert ask(address, port, with_token) == 404
    assert ask(address, port, {**with_token, "Origin": "http://evil.example"}) == 403


def test_every_address_of_both_families(harness: LocalHarness) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = find_port()
    harness.start(port, "--host", "::", "--token-file", str(harness.state.with_name("token")))
    assert ask("127.0.0.1", port) == ask("::1", port) == 404
    assert ask(find_address(), port) == 401


def test_a_token_sent_from_this_machine_is_not_asked_for_without_host(harness: LocalHarness) -> None:
    port = find_port()
    harness.start(port, "--token-file", str(harness.state.with_name("token")))
    assert ask("127.0.0.1", port) == 404
    assert not harness.state.with_name("token").exists()
    with pytest.raises(OSError, match="refused"):
        ask(find_address(), port)


def test_a_name_of_loopback_opens_nothing_and_says_so(harness: LocalHarness) -> None:
    """The hosts file of Debian gives a machine's own name the address 127.0.1.1."""
    harness.start(find_port(), "--host", "127.1", "--token-file", str(harness.state.with_name("token")))
    said = "127.1 is an address of loopback, so other machines can't reach the port\n"
    wait_until(lambda: said in harness.log(), 30, what="the warning")


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
        (["--host", ""], "host: must be an address of this machine"),
        (["--port", "65536"], "port: must be"),
    ],
)
def test_an_address_that_is_not_of_this_machine(tmp_path: Path, options: list[str], message: str) -> None:
    command = [*UP, "--port", "0", "--state", "s", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert message in done.stderr
    assert done.returncode in (69, 78)
    assert "Traceback" not in done.stderr
