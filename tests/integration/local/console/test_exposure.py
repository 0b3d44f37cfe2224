"""The console off loopback: credentials are needed, made once, and checked before the platform starts."""

import http.client
import shutil
import ssl
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli import EAVES
from tests.contract.harness import LocalHarness
from tests.processes.commands import run_command
from tests.waiting import wait_until

UP = [*EAVES, "up", "--port", "0", "--console-port", "0"]


def run(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*UP, "--state", str(tmp_path / "s"), *options]
    return run_command(command, timeout=60, cwd=tmp_path)


def test_without_credentials_the_error_has_the_command_that_makes_them(tmp_path: Path):
    done = run(tmp_path, "--console-host", "0.0.0.0")
    assert done.returncode == 78
    assert "0.0.0.0 is open to other machines, so the console needs a certificate and a password" in done.stderr
    assert f"--console-credentials {tmp_path / 's/console'}" in done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made by openssl")
@pytest.mark.long("a platform and its function start")
def test_credentials_are_made_and_the_console_asks_for_the_password(harness: LocalHarness, tmp_path: Path):
    folder = tmp_path / "credentials"
    harness.start(0, "--console-host", "0.0.0.0", "--console-credentials", str(folder))
    wait_until(lambda: "console: https://" in harness.log(), what="the address")
    assert f"the console's password was created: {folder / 'password'}\n" in harness.log()
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    url = harness.log().rpartition("console: ")[2].split()[0]
    context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
    connection = http.client.HTTPSConnection("localhost", urlsplit(url).port or 0, context=context, timeout=30)
    try:
        connection.request("GET", "/", headers={"Accept": "text/html"})
        answer = connection.getresponse()
        page = answer.read().decode()
    finally:
        connection.close()
    assert answer.status in (303, 401), page
    harness.stop()
    (folder / "tls.crt").write_text("not a certificate")
    done = run(tmp_path, "--console-host", "0.0.0.0", "--console-credentials", str(folder))
    assert done.returncode == 78
    assert "tls.crt" in done.stderr
    (folder / "password").chmod(0o644)
    done = run(tmp_path, "--console-host", "0.0.0.0", "--console-credentials", str(folder))
    assert done.returncode == 78
    assert "must be 0600" in done.stderr
    harness.start()  # so that the harness has something to end
