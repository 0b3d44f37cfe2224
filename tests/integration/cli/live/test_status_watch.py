"""`eaves status --watch` as a process: on a terminal, in a pipe, while `eaves up` comes and goes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.contract.harness import LocalHarness, open_local_harness
from tests.integration.cli.live.views import open_view
from tests.integration.local.apps import digits_app
from tests.waiting import wait_until


def test_each_look_is_a_line_of_json_while_eaves_up_comes_and_goes(tmp_path: Path) -> None:
    with open_local_harness(start=False) as harness:
        state = str(harness.state)
        with open_view(tmp_path, "status", "--watch", "--interval", "0.5", "-o", "json", "--state", state) as view:
            wait_until(lambda: view.stdout.startswith("[]\n"), 60, what="the status of an empty directory")
            harness.start()
            harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
            wait_until(lambda: _last_state(view.stdout) not in ("", "stopped"), 30, what="a running function")
            harness.stop()
            wait_until(lambda: _last_state(view.stdout) == "stopped", 30, what="a stopped function")
            assert view.press_ctrl_c() == 0
            assert "Traceback" not in view.stderr


def _last_state(text: str) -> str:
    """Return the state of the function in the last whole look; empty without one."""
    found = json.loads(text.splitlines()[-1] if text.endswith("\n") else text.splitlines()[-2])
    return str(found[0]["state"]) if found else ""


def test_a_terminal_is_drawn_over_and_left_clean(harness: LocalHarness) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    command = [sys.executable, "-P", "-m", "eaves.cli", "status", "-w", "--interval", "0.5", "--state"]
    process = subprocess.Popen([*command, str(harness.state)], stdin=slave, stdout=slave, stderr=slave)
    shown = b""

    def read() -> bytes:
        nonlocal shown
        if select.select([master], [], [], 0)[0]:
            shown += os.read(master, 65_536)
        return shown

    try:
        wait_until(lambda: read().count(b"\x1b[H") >= 3, 60, what="three looks")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert termios.tcgetattr(slave) == before
        text = read().decode()
        assert text.count("\x1b[2J") == 1
        assert "`eaves up` is not running here" in text
        assert set(_sequences(text)) <= {"\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J", "\x1b[1m", "\x1b[0m"}
    finally:
        process.kill()
        process.wait(30)
        os.close(master)
        os.close(slave)


def _sequences(text: str) -> list[str]:
    return [
        "\x1b" + part[: next(at for at, letter in enumerate(part) if letter.isalpha()) + 1]
        for part in text.split("\x1b")[1:]
    ]
