"""`eaves up --print-unit` in a project with a hostile name; its command is started as systemd reads it."""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.local.client import LocalPlatform
from tests.disks import DISK
from tests.integration.local.service.systemd import read_unit, require_systemd, verify
from tests.ports import find_port
from tests.processes.commands import run_command
from tests.waiting import wait_until

EAVES = [sys.executable, "-P", "-m", "eaves.cli"]
NAME = 'a "line" $HOME 50%n \\ é'
"""Name of the project's folder, with what shells and systemd give a meaning to."""


@dataclass
class Project:
    """A project's folder, and a home for its user.

    Attributes:
        root: The project's folder.
        home: Home of the user who types the commands.
        environ: Further variables of the commands' environment.
    """

    root: Path
    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def print_unit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `eaves up --print-unit` in the project."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environ}
        command = [*EAVES, "up", *words, "--print-unit"]
        return run_command(command, cwd=self.root, env=environ, timeout=60)


@pytest.fixture
def project() -> Iterator[Project]:
    with tempfile.TemporaryDirectory(prefix="eaves-", dir=DISK) as folder:  # systemd takes none below /dev
        made = Project(root=Path(folder) / NAME, home=Path(folder) / "home")
        made.root.mkdir()
        made.home.mkdir()
        (made.root / "eaves.yaml").write_text("name: flowers\n")
        yield made


def test_the_service_starts_as_systemd_reads_it_and_ends_in_order(project: Project):
    require_systemd()
    port = str(find_port())
    project.environ["EAVES_UP_LOG_MAX_BYTES"] = "20000"
    options = [
        *("--port", port, "--host", "0.0.0.0", "--token-file", "the token"),
        *("--console-port", "0", "--console-credentials", "the console", "--console-read-only"),
    ]
    done = project.print_unit(*options)
    assert done.returncode == 0, done.stderr
    assert "sudo systemctl enable --now eaves-flowers" in done.stderr
    state = project.root / ".eaves"
    assert not state.exists()
    unit = project.home / "eaves-flowers.service"
    unit.write_text(done.stdout)
    verify(unit)
    assert f"\nUser={pwd.getpwuid(os.geteuid()).pw_name}\n" in done.stdout
    found = read_unit(unit)
    assert found.values["WorkingDirectory"] == str(project.root)
    assert found.command[-17:] == [
        *("up", "--quiet", "--state", str(state), "--port", port, "--host", "0.0.0.0"),
        *("--token-file", "the token", "--console-port", "0"),
        *("--console-credentials", "the console", "--console-read-only", "--log-max-bytes", "20000"),
    ]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(project.home)}
    service = subprocess.Popen(found.command, cwd=found.values["WorkingDirectory"], env=environ)
    try:
        wait_until(LocalPlatform(state).running, 30, what="the service")
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()
    assert (project.root / "the token").exists()


def test_a_password_in_the_address_of_a_proxy_is_not_written_into_the_unit(project: Project):
    project.environ |= {"http_proxy": "user:secret@proxy.example:3128", "SSL_CERT_FILE": "/etc/ca@home.pem"}
    project.environ |= {"KUBECONFIG": "site.yaml"}
    done = project.print_unit()
    assert done.returncode == 0, done.stderr
    assert "http_proxy holds a password" in done.stderr
    assert "EnvironmentFile=" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "SSL_CERT_FILE=/etc/ca@home.pem" in done.stdout
    assert "KUBECONFIG=site.yaml" in done.stdout
