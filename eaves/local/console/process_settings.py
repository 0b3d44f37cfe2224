"""What the supervisor passes to the console's process, as the one argument of its command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eaves.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Settings of the console's process.

    Attributes:
        listener: File descriptor of the listening socket, which the process inherits.
        state: State directory of the platform.
        project: Directory in which `eaves up` was started; runs and artifacts are searched below it.
        host: Address that the listening socket is bound to, as the user wrote it.
        credentials: Folder with the certificate and the password; None when the console needs none.
        session_s: Time after a login at which the session ends, seconds.
        session_idle_s: Time after a person's last request at which the session ends, seconds.
        read_only: Whether the pages change nothing.
        silent_after_s: See `ConsoleSettings.silent_after_s`.
        keeps_thumbnails: Whether thumbnails are made also while nobody looks; the process then doesn't end by itself.
        thumbnails_max_bytes: Limit of the thumbnails on disk, bytes.
        idle_s: Time without a connection after which the process ends, seconds.
    """

    listener: int
    state: Path
    project: Path
    host: str = "127.0.0.1"
    credentials: Path | None = None
    session_s: float = 43_200.0
    session_idle_s: float = 7_200.0
    read_only: bool = False
    silent_after_s: float = 600.0
    keeps_thumbnails: bool = False
    thumbnails_max_bytes: int
    idle_s: float

    def to_argument(self) -> str:
        """Return the settings as one argument of a command."""
        return json.dumps(asdict(self), default=str)


def parse_process_settings(arguments: Sequence[str]) -> ProcessSettings:
    """Parse the settings from the arguments of the process.

    Raises:
        InputError: When the process wasn't started by `eaves up`, or by one of another version.
    """
    try:
        values = json.loads(arguments[0])
        paths = {name: values.get(name) and Path(values[name]) for name in ("state", "project", "credentials")}
        return ProcessSettings(**{**values, **paths})
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "the console's process is started by `eaves up`, and not by itself", hint="eaves up"
        ) from error
