"""`eaves up --install-service` in a project with a hostile name; its command is started as systemd reads it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eaves.local.client import LocalPlatform
from eaves.local.service import BOOTED, find_owner
from tests.disks import DISK
from tests.integration.local.service.systemd import read_unit, require_systemd, unprivileged, verify
from tests.ports import find_port
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

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Eaves in the project as a user who isn't root."""
        return self.run([*unprivileged(), *EAVES, *words])

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the project."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environ}
        return subprocess.run(
            command, cwd=self.root, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def unit(self) -> Path:
        """The unit file of the user's service."""
        return self.home / ".config/systemd/user/eaves-flowers.service"


@pytest.fixture
def project() -> Iterator[Project]:
    if BOOTED.exists():
        pytest.skip("systemd runs here: this test would start a service on this machine")
    with tempfile.TemporaryDirectory(prefix="eaves-", dir=DISK) as folder:  # systemd takes none below /dev
        made = Project(root=Path(folder) / NAME, home=Path(folder) / "home")
        made.root.mkdir()
        made.home.mkdir()
        (made.root / "eaves.yaml").write_text("name: flowers\n")
        yield made


def test_the_service_starts_as_systemd_reads_it_and_ends_in_order(project: Project) -> None:
    require_systemd()
    port = str(find_port())
    project.environ["EAVES_UP_LOG_MAX_BYTES"] = "20000"
    options = [
        *("--port", port, "--host", "0.0.0.0", "--token-file", "the token"),
        *("--console-port", "0", "--console-credentials", "the console", "--console-read-only"),
    ]
    done = project.type("up", *options, "--install-service")
    assert (done.returncode, done.stdout) == (0, f"{project.unit}\n"), done.stderr
    verify(project.unit, user=True)
    found = read_unit(project.unit)
    state, token = project.root / ".eaves", project.root / "the token"
    assert found.values["WorkingDirectory"] == str(project.root)
    credentials = project.root / "the console"
    assert found.command[-17:] == [
        *("up", "--quiet", "--state", str(state), "--port", port, "--host", "0.0.0.0"),
        *("--token-file", str(token), "--console-port", "0"),
        *("--console-credentials", str(credentials), "--console-read-only", "--log-max-bytes", "20000"),
    ]
    assert stat.S_IMODE((credentials / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    before = token.read_text()
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(project.home)}
    service = subprocess.Popen(found.command, cwd=found.values["WorkingDirectory"], env=environ)
    try:
        wait_until(LocalPlatform(state).running, 30, what="the service")
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()
    assert token.read_text() == before


def test_only_what_was_installed_is_removed(project: Project) -> None:
    assert project.type("up", "--uninstall-service").returncode == 66
    assert project.type("up", "--install-service").returncode == 0
    removed = project.type("up", "--uninstall-service")
    assert (removed.returncode, removed.stdout) == (0, f"{project.unit}\n")
    assert not project.unit.exists()
    project.unit.write_text("[Service]\nExecStart=/bin/true\n")
    refused = project.type("up", "--uninstall-service")
    assert refused.returncode == 78
    assert "was not written by `eaves up --install-service`" in refused.stderr
    assert project.type("up", "--install-service").returncode == 78
    assert project.unit.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_the_service_of_another_folder_with_the_same_name_stays(project: Project) -> None:
    assert project.type("up", "--install-service").returncode == 0
    other = Project(root=project.home / "other", home=project.home)
    other.root.mkdir()
    (other.root / "eaves.yaml").write_text("name: flowers\n")
    refused = other.type("up", "--uninstall-service")
    assert refused.returncode == 78
    assert f"{project.unit} belongs to a project in another folder" in refused.stderr
    assert other.type("up", "--install-service").returncode == 78
    assert project.unit.exists()


def test_a_password_in_the_address_of_a_proxy_is_not_written_into_the_unit(project: Project) -> None:
    project.environ |= {"http_proxy": "user:secret@proxy.example:3128", "SSL_CERT_FILE": "/etc/ca@home.pem"}
    done = project.type("up", "--install-service")
    assert done.returncode == 0, done.stderr
    assert "http_proxy holds a password" in done.stderr
    assert "EnvironmentFile=" in done.stderr
    assert "`systemctl --user edit eaves-flowers`" in done.stderr
    assert "secret" not in project.unit.read_text() + done.stderr
    assert "SSL_CERT_FILE=/etc/ca@home.pem" in project.unit.read_text()


def test_a_link_in_the_path_of_the_state_gives_no_more_rights_than_its_owner_has(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a link to another user needs root")
    link = tmp_path / ".eaves"
    link.symlink_to("/etc")
    assert find_owner(link).st_uid == find_owner(link / "new" / "folder").st_uid == 0
    os.lchown(link, 65534, 65534)
    assert find_owner(link).st_uid == find_owner(link / "new" / "folder").st_uid == 65534
    link.unlink()
    link.symlink_to("nowhere")
    os.lchown(link, 65534, 65534)
    assert find_owner(link).st_uid == 65534


def test_root_leaves_the_files_to_the_owner_of_the_project(project: Project) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("giving a folder to another user needs root, and mounting a tmpfs unshare(1)")
    os.chown(project.root, 65534, 65534)
    project.root.parent.chmod(0o755)
    script = 'mount -t tmpfs tmpfs /etc/systemd/system && "$@" && grep User= /etc/systemd/system/*'
    words = ("up", "--install-service", "--host", "0.0.0.0", "--token-file", "token")
    done = project.run(["unshare", "--mount", "sh", "-c", script, "sh", *EAVES, *words])
    if done.returncode == 0:
        assert done.stdout.endswith("User=nobody\n")
        assert {path.stat().st_uid for path in (project.root / "token", project.root / ".eaves")} == {65534}
    else:  # the Python of the tests is in root's home
        assert f"error: nobody, the owner of {project.root}/.eaves, can't run " in done.stderr
        assert not (project.root / ".eaves").exists()
