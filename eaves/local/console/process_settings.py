"""What the supervisor passes to the console's process, as the one argument of its command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eaves.errors import InputError
from eaves.local.settings import LocalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Settings of the console's process.

    Attributes:
        listener: File descriptor of the listening socket, which the process inherits.
        state: State directory of the platform.
        project: Directory in which `eaves up` was started; runs and artifacts are searched below it.
        idle_s: Time without a request after which the process ends, seconds.
        platform: Settings of the platform, of which those of the console are passed.
    """

    listener: int
    state: Path
    project: Path
    idle_s: float
    platform: LocalSettings

    @property
    def keeps_thumbnails(self) -> bool:
        """Whether thumbnails are made also while nobody looks; the process then doesn't end by itself."""
        return self.platform.console_thumbnails == "always"

    def to_argument(self) -> str:
        """Return the settings as one argument of a command."""
        values = asdict(self)
        values["platform"] = {name: one for name, one in values["platform"].items() if name.startswith("console")}
        return json.dumps(values, default=lambda path: str(path.absolute()))


def parse_process_settings(arguments: Sequence[str]) -> ProcessSettings:
    """Parse the settings from the arguments of the process.

    Raises:
        InputError: When the process wasn't started by `eaves up`, or by one of another version.
    """
    try:
        values = json.loads(arguments[0])
        platform = values["platform"]
        platform["console_credentials"] = platform["console_credentials"] and Path(platform["console_credentials"])
        values |= {"state": Path(values["state"]), "project": Path(values["project"])}
        return ProcessSettings(**{**values, "platform": LocalSettings(**platform)})
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "the console's process is started by `eaves up`, and not by itself", hint="eaves up"
        ) from error
