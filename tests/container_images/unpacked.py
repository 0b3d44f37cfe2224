"""A container image that was unpacked, started as a runtime would: chroot, a numeric user, a read-only root."""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.container_images.packaging import need
from tests.processes.commands import run_command
from tests.waiting import wait_until

_START = """
set -eu
mount --bind "$1" "$1"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount -o remount,ro,bind "$1"
exec env -i {environment} {chroot} --userspec="$2" "$1" {command}
"""


def unpack(layout: Path, name: str, bundle: Path) -> tuple[Path, dict[str, Any]]:
    """Unpack with umoci; the root, and the `config` of the config. Skips where that can't be done."""
    if os.geteuid() != 0:
        pytest.skip("unpacking and starting a root needs to be root")
    run(need("umoci"), "unpack", "--image", f"{layout}:{name}", str(bundle))
    said = run(need("skopeo"), "inspect", "--config", f"oci:{layout}:{name}")
    config: dict[str, Any] = json.loads(said)["config"]
    for folder in ("tmp", "proc"):
        (bundle / "rootfs" / folder).mkdir(exist_ok=True)
    return bundle / "rootfs", config


def run(*command: str) -> str:
    """Run a command to its end; what it printed."""
    done = run_command(command)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr[-2000:]}"
    return done.stdout


class Container:
    """A function in a root of its own.

    Args:
        root: The unpacked root.
        config: What its container image says of starting it.
        log: Gets what it writes.
        prefix: Command that runs it, such as strace.
    """

    def __init__(self, root: Path, config: dict[str, Any], log: Path, *, prefix: Sequence[str] = ()) -> None:
        self.log_file = log
        environment = [*config["Env"], "EAVES_HOST=127.0.0.1", "PORT=0", "EAVES_CONCURRENCY=1"]
        script = _START.format(
            environment=shlex.join(environment), command=shlex.join(config["Entrypoint"]), chroot=need("chroot")
        )
        words = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--propagation", "private"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*prefix, need("unshare"), *words, "sh", "-c", script, "sh", str(root), config["User"]],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def port(self) -> int:
        """Port that it listens at; 0 before it listens."""
        lines = self.log_file.read_text().splitlines()
        found = [json.loads(line)["message"] for line in lines if "listening on" in line]
        assert found or self.process.poll() is None, "\n".join(lines)
        return int(found[0].rpartition(":")[2]) if found else 0

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = HTTPConnection("127.0.0.1", wait_until(self.port, 60), timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait_ready(self) -> None:
        """Until its golden image is reproduced."""
        wait_until(lambda: self.request("GET", "/health/readiness")[0] == 200, 60, what="readiness")

    def stop(self) -> None:
        """End its command's process group: strace leaves its child behind, unshare's child ends with unshare."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
