"""Settings of who may open the console, and its password and certificate, which are created when they are missing."""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from eaves.base.files import make_directory, write_atomically
from eaves.credentials import CERTIFICATE, KEY, PASSWORD, check_private
from eaves.errors import ConfigError, Fault, StorageError
from eaves.ingress import ServerTls
from eaves.origin import is_loopback_host

HOUR_S = 3_600.0

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Characters of a generated password, without those that look alike: i, l, o, 0 and 1."""
GROUPS, GROUP_CHARACTERS = 4, 5
"""Shape of a generated password: four groups of five characters, which have 99 bits and can be typed on a phone."""
DAYS = 820
"""Validity of a generated certificate, days. Source: Apple, HT211025: certificates that a user trusts by hand may be
valid for at most 825 days."""
REQUEST = """\
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = Eaves console
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""
"""Configuration of `openssl req`. The certificate can sign no others, so a person who trusts it trusts this
server only.
Source: RFC 5280, sections 4.2.1.3, 4.2.1.6, 4.2.1.9, 4.2.1.12.
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
OPENSSL_S = 30.0
"""Time limit of `openssl`, seconds; a small board makes an elliptic key in less than one."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Settings of the console.

    Attributes:
        host: Address that the console listens on. Off loopback, `credentials` must be set.
        credentials: Folder with `password`, `tls.crt` and `tls.key`; None on loopback without a
            password. On loopback, a folder with only `password` gives plain HTTP with a login page.
        state: Directory in which the key of signatures and the list of logouts survive a restart of the process; None:
            they end with the process, and with them every session.
        session_s: Time after a login at which the session ends, seconds. 12 hours cover a shift with its handover.
        read_only: Whether every change is refused, and no page offers one.
        silent_after_s: Time without an image after which a source counts as silent, seconds. 0: no source does.
        site_since: Time at which the console of a site began to keep events, Unix seconds; None on one machine, whose
            history is not lost when the console ends. Pages of a site name the commands for what it can't show.
    """

    host: str = "127.0.0.1"
    credentials: Path | None = None
    state: Path | None = None
    session_s: float = 12 * HOUR_S
    read_only: bool = False
    silent_after_s: float = 0.0
    site_since: float | None = None

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        return is_loopback_host(self.host)

    def build_tls(self) -> ServerTls | None:
        """Return the certificates of the server; None on loopback, unless the folder of credentials has some.

        Raises:
            ConfigError: When a certificate is missing off loopback, or can't be used.
        """
        if self.credentials is None or (self.is_local and not (self.credentials / CERTIFICATE).exists()):
            return None
        return ServerTls(self.credentials)


def check_exposure(settings: ConsoleSettings, *, folder: Path = Path("console"), command: str = "eaves up") -> None:
    """Check that a console that other machines can reach has a folder of credentials.

    Args:
        settings: Settings of the console.
        folder: Folder that the hint suggests; `prepare_credentials` creates it with its files.
        command: Command that the hint suggests.

    Raises:
        ConfigError: When the console would be open to other machines without TLS and a password.
    """
    if settings.is_local or settings.credentials is not None:
        return
    message = (
        f"{settings.host} is open to other machines, so the console needs a certificate and a password: "
        "name the folder of its credentials"
    )
    hint = (
        f"{command} --console-host {settings.host} --console-credentials {shlex.quote(str(folder))}"
        "   # missing files are created"
    )
    raise ConfigError.single(command, "console_host", message, hint=hint)


def prepare_credentials(folder: Path, *, host: str, needs_tls: bool = True) -> tuple[str, ...]:
    """Create the missing ones of `password`, `tls.crt` and `tls.key`, and check that only their owner may read them.

    Args:
        folder: Folder of the credentials, which is created when it is missing.
        host: Address that the console listens on; the certificate is valid for it, or for all addresses of the machine.
        needs_tls: Whether a certificate is needed.

    Returns:
        Lines about what was created, for the person who starts the platform.

    Raises:
        ConfigError: When another user may read a secret, or when no certificate can be made on this machine.
        StorageError: When a file can't be written.
    """
    password, certificate, key = folder / PASSWORD, folder / CERTIFICATE, folder / KEY
    notices = []
    try:
        make_directory(folder)
        if not password.exists():
            groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARACTERS)) for _ in range(GROUPS))
            write_atomically(password, f"{'-'.join(groups)}\n")
            notices.append(f"the console's password was created: {password}")
        if needs_tls and not certificate.exists():
            _create_certificate(folder, list_names(host))
            der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
            notices.append(
                "a certificate was created, which browsers don't know; they show this fingerprint (SHA-256): "
                f"{hashlib.sha256(der).digest().hex(':').upper()}"
            )
        for path in (password, key):
            if path.exists():
                check_private(path, setting="console_credentials")
    except OSError as error:
        message = f"{folder}: the console's credentials can't be created or read: {error.strerror or error}"
        raise StorageError(message, hint=f"ls -la {folder}") from error
    return tuple(notices)


def list_names(host: str) -> Sequence[str]:
    """Return the subject's alternative names of a certificate for a host, as openssl writes them: `DNS:...`, `IP:...`.

    They are the host, this machine's names, and the addresses by which other machines usually reach it.
    """
    name = socket.gethostname()
    local = f"{name.partition('.')[0]}.local"
    names = []
    for one in ("localhost", name, local, "127.0.0.1", "::1", host, *find_own_addresses()):
        try:
            if not ip_address(one).is_unspecified:
                names.append(f"IP:{one.partition('%')[0]}")
        except ValueError:
            if _NAME.fullmatch(one):
                names.append(f"DNS:{one.lower()}")
    return list(dict.fromkeys(names))


def find_own_addresses() -> Sequence[str]:
    """Return the addresses of this machine in its network: those of the default routes.

    Connecting a UDP socket sends nothing. Source: RFC 5737 and RFC 3849, addresses for documentation.
    """
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            found.append(str(probe.getsockname()[0]))
    return found


def _create_certificate(folder: Path, names: Sequence[str]) -> None:
    """Create a self-signed certificate by the `openssl` command, for the key in the folder or for a new one.

    The files are made in a folder of their own and then moved, the key first, so a process that is killed leaves no
    certificate without its key.

    Raises:
        ConfigError: When there is no `openssl` command, or it fails.
        OSError: When the files can't be written.
    """
    existing = folder / KEY
    key = ["-key", str(existing.resolve())] if existing.exists() else [*NEW_KEY, "-keyout", KEY]
    command = ["openssl", "req", "-x509", *key, "-days", str(DAYS), "-config", "/dev/stdin", "-out", CERTIFICATE]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".certificate-") as made:
        text = REQUEST.format(names=",".join(names))
        try:
            done = subprocess.run(
                command, cwd=made, input=text, capture_output=True, text=True, timeout=OPENSSL_S, check=False
            )
            problem = done.stderr.strip()[-200:] if done.returncode else ""
        except FileNotFoundError:
            problem = "this machine has no `openssl` command"
        except subprocess.TimeoutExpired:
            problem = f"it took longer than {OPENSSL_S:.0f} s"
        if problem:
            message = f"{folder} has no {CERTIFICATE}, and `openssl req` made none: {problem}"
            fault = Fault(origin="eaves up", path="console_credentials", message=message)
            hint = f"put {CERTIFICATE} and {KEY} in PEM form into {folder}, or install the `openssl` command"
            raise ConfigError([fault], hint=hint)
        for name in (KEY, CERTIFICATE):
            if (Path(made) / name).exists():
                write_atomically(folder / name, (Path(made) / name).read_bytes())
