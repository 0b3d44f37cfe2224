"""Settings of the local platform. They belong to `eaves up` and not to eaves.yaml, as projects may share a platform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.history import MAX_BYTES
from eaves.spool.settings import SpoolBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings(SpoolBudget):
    """Address of the local platform, and limits of the disk space for its queue and records."""

    port: int = setting(
        8480, "TCP port of the broker and of all functions; 0: any free port.", minimum=0, maximum=65535
    )
    host: str = setting(
        "127.0.0.1",
        "Address that the port is opened at, in addition to 127.0.0.1. 0.0.0.0 opens it at every IPv4 address of the "
        "machine, :: at every address. Any address off loopback needs token_file, and then every caller needs the "
        "token, at 127.0.0.1 too; the token and the images travel unencrypted.",
    )
    token_file: Path | None = setting(
        None,
        "File with the token that callers must send, as `Authorization: Bearer TOKEN`, when host is off loopback. A "
        "missing file is created with a random token. Only its owner may be able to read it.",
    )
    console: bool = setting(
        True,
        "Serve the console, the web page that shows what the cameras see. Its process runs only while somebody looks.",
    )
    console_port: int = setting(
        8481,
        "TCP port of the console; 0: any free port. When another program uses the port of a console on loopback, a "
        "free one is taken, and `eaves up` names it.",
        minimum=0,
        maximum=65535,
    )
    console_host: str = setting(
        "127.0.0.1",
        "Address that the console's port is opened at. 0.0.0.0 opens it at every IPv4 address of the machine, :: at "
        "every address. Any address off loopback needs console_credentials.",
    )
    console_credentials: Path | None = setting(
        None,
        "Folder with the console's password (password), certificate (tls.crt) and private key (tls.key). Missing files "
        "are created; on loopback no certificate is. Required when console_host is off loopback.",
    )
    console_session_hours: float = setting(
        12.0,
        "Hours after which a person must log in to the console again. The default covers a shift with its handover; a "
        "screen on a wall may have 720.",
        minimum=0.1,
        maximum=8_760.0,
    )
    console_read_only: bool = setting(False, "Let the console's pages change nothing: no retry, no rollback.")
    console_silent_after_s: float = setting(
        0.0,
        "Seconds without an image after which the console calls a source silent. 0: it calls only those silent that "
        "report a fault.",
        minimum=0,
    )
    log_max_bytes: int = setting(
        10_000_000,
        "Maximum size in bytes of the log of one function or source, in two files; the oldest "
        "lines are deleted. The default holds the last 10,000 predictions of a function, of "
        "about 300 bytes each.",
        minimum=10_000,
    )
    history_max_bytes: int = setting(
        MAX_BYTES,
        "Maximum size of the history in bytes; the oldest records are deleted. The default is "
        "several times the usual size of its 10,000 records.",
        minimum=1_000_000,
    )
