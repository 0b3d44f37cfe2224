"""A console off loopback: a certificate by openssl, a login over TLS, and its end."""

import re
import shutil
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings, prepare_credentials
from eaves.errors import ConfigError
from tests.fakes.console.backend import FakeBackend
from tests.https_browser import HttpsBrowser
from tests.processes.commands import run_command

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
POLL = "/parts/overview"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "console"


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., HttpsBrowser]]:
    """Start a console that needs TLS and a password."""
    running: list[ConsoleServer] = []

    def start(**settings: Any) -> HttpsBrowser:
        prepare_credentials(folder, host="127.0.0.1")
        # 127.0.0.1 is loopback; the settings are those of a machine that others can reach.
        security = ConsoleSettings(host="0.0.0.0", credentials=folder, state=folder, **settings)
        context = ConsoleContext(backend=FakeBackend(), settings=security)
        running.append(ConsoleServer(create_app(context), host="127.0.0.1", tls=security.build_tls()))
        return HttpsBrowser(running[-1].port, folder / "tls.crt")

    yield start
    for server in running:
        server.stop()


def read_password(folder: Path) -> str:
    return (folder / "password").read_text().strip()


@needs_openssl
def test_missing_files_are_created_for_their_owner_only(folder: Path):
    password, certificate = prepare_credentials(folder, host="10.0.0.5")
    assert password == f"the console's password was created: {folder / 'password'}"
    assert re.fullmatch(r"[a-hjkmnp-z2-9]{5}(-[a-hjkmnp-z2-9]{5}){3}", read_password(folder))
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["password", "tls.crt", "tls.key"]
    shown = run_command(
        ["openssl", "x509", "-in", folder / "tls.crt", "-noout", "-text", "-fingerprint", "-sha256"], check=True
    ).stdout
    assert f"Fingerprint={certificate.rpartition(' ')[2]}" in shown
    for part in ("CA:FALSE", "IP Address:10.0.0.5", "DNS:localhost", "TLS Web Server Authentication"):
        assert part in shown
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert prepare_credentials(folder, host="10.0.0.5") == ()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@needs_openssl
def test_a_process_that_was_killed_between_key_and_certificate_does_not_block_the_next_start(folder: Path):
    prepare_credentials(folder, host="localhost")
    key = (folder / "tls.key").read_bytes()
    (folder / "tls.crt").unlink()
    assert prepare_credentials(folder, host="localhost")
    assert (folder / "tls.key").read_bytes() == key
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(folder / "tls.crt", folder / "tls.key")


def test_without_the_openssl_command_the_error_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="no `openssl` command") as found:
        prepare_credentials(folder, host="localhost")
    assert found.value.hint
    assert "put tls.crt and tls.key" in found.value.hint
    assert not any("certificate" in one for one in prepare_credentials(folder, host="127.0.0.1", needs_tls=False))


@needs_openssl
def test_a_secret_that_others_can_read_is_refused(folder: Path):
    prepare_credentials(folder, host="localhost")
    (folder / "tls.key").touch()
    (folder / "tls.key").chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640, must be 0600") as found:
        prepare_credentials(folder, host="localhost")
    assert found.value.hint == f"chmod 600 {folder / 'tls.key'}"


@needs_openssl
def test_a_person_logs_in_over_tls(serve: Callable[..., HttpsBrowser], folder: Path):
    browser = serve()
    assert browser.ask("GET", "/", Accept="text/html")[0] == 303
    assert browser.answer_headers["Location"] == "/login?next=/"
    assert browser.log_in("a wrong guess") == 403
    assert browser.log_in(read_password(folder)) == 303
    assert any(name.startswith("__Host-eaves-") for name in browser.cookies)
    status, page = browser.ask("GET", "/")
    assert (status, "Log out" in page) == (200, True)
    assert "script-src 'self'" in browser.answer_headers["Content-Security-Policy"]
