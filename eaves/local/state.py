"""The state directory: where specs, queues, logs and the control socket of one local platform are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.errors import ConfigError, EavesError, Fault, NotFoundError
from eaves.local.specs import LocalApp, parse_app
from eaves.platform import RELAY

AGENT = "agent"
"""Stands for an app's agent where a source's name may stand, in the name of a log."""
MAX_SOCKET_PATH = 107
"""Source: sun_path in unix(7), 108 bytes with its final NUL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory:
    """One state directory; making this value touches nothing."""

    root: Path

    @property
    def specs(self) -> Path:
        """What is wanted, `NAME.json` per app."""
        return self.root / "specs"

    @property
    def previous(self) -> Path:
        """What was wanted before the last `deploy` that changed it, `NAME.json` per app."""
        return self.root / "previous"

    @property
    def logs(self) -> Path:
        """What processes wrote, `NAME.log` each."""
        return self.root / "logs"

    @property
    def spool(self) -> Path:
        """The broker's durable queue."""
        return self.root / "spool.db"

    @property
    def history(self) -> Path:
        """What flowed."""
        return self.root / "history.db"

    @property
    def lock(self) -> Path:
        """Held by the running supervisor."""
        return self.root / "up.lock"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.root / "control.sock"

    @property
    def token(self) -> Path:
        """The token of whoever may use a port that `eaves up --listen` opens."""
        return self.root / "token"

    def agent_spool(self, app: str) -> Path:
        """The durable queue of an app's agent."""
        return self.root / "agents" / f"{app}.db"

    def agent_socket(self, app: str) -> Path:
        """Where an app's agent listens."""
        return self.root / "agents" / f"{app}.sock"

    def agent_log(self, app: str) -> Path:
        """The log file of an app's agent."""
        return self.log(f"{app}.{AGENT}")

    def relay_spool(self, app: str) -> Path:
        """The durable queue of an app's relay."""
        return self.root / "relays" / f"{app}.db"

    def relay_socket(self, app: str) -> Path:
        """Where an app's relay listens for questions about its queue."""
        return self.root / "relays" / f"{app}.sock"

    def list_relays(self) -> list[str]:
        """The apps that have a relay's queue here, wanted or not."""
        return sorted(path.stem for path in (self.root / "relays").glob("*.db"))

    def relay_log(self, app: str) -> Path:
        """The log file of an app's relay."""
        return self.log(f"{app}.{RELAY}")

    def former_spools(self, app: str) -> list[Path]:
        """The queues of an app's sources that an earlier version left, when each source had an agent of its own."""
        return sorted((self.root / "sources").glob(f"{app}.*.db"))

    def log(self, name: str) -> Path:
        """The log file of a function, or of what else runs under this name."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories, for this user only.

        Raises:
            ConfigError: When the path is too long for a Unix socket, or can't be made.
        """
        self.check_length()
        try:
            for folder in (self.root, self.specs, self.previous, self.logs, self.root / "agents", self.root / "relays"):
                make_directory(folder)
            self.root.chmod(0o700)  # it holds images and predictions
        except OSError as error:
            fault = Fault(origin="state directory", path="", message=f"{self.root} can't be made: {error.strerror}")
            raise ConfigError([fault], hint="choose another with --state") from error

    def check_length(self) -> None:
        """Refuse a directory whose socket no process could bind or reach.

        Raises:
            ConfigError: When it is too long.
        """
        if len(os.fsencode(self.socket.absolute())) > MAX_SOCKET_PATH:
            message = f"{self.root.absolute()} is too long for a Unix socket"
            fault = Fault(origin="state directory", path="", message=message)
            raise ConfigError([fault], hint="choose a shorter one with --state")

    def write_spec(self, app: LocalApp) -> None:
        """Want an app: its spec file is replaced in one step. What was wanted before is kept for `roll_back`."""
        self.prepare()
        target = self.specs / f"{app.function.name}.json"
        text = _write_text(app)
        before = target.read_text(encoding="utf-8", errors="replace") if target.exists() else text
        if text not in (before, _rewrite(before)):
            write_atomically(self.previous / target.name, before)
        write_atomically(target, text)

    def roll_back(self, name: str) -> None:
        """Want again what was wanted before; what was wanted now can be rolled back to in turn.

        Raises:
            NotFoundError: When nothing was wanted before.
        """
        self.require(name)
        target, kept = self.specs / f"{name}.json", self.previous / f"{name}.json"
        if not kept.exists():
            raise NotFoundError(f"{name} was deployed once only: there is nothing before it", hint="eaves deploy")
        now, before = (path.read_text(encoding="utf-8", errors="replace") for path in (target, kept))
        write_atomically(target, before)
        write_atomically(kept, now)

    def remove_spec(self, name: str) -> None:
        """Stop wanting it.

        Raises:
            NotFoundError: When there is none of that name.
        """
        self.require(name)
        remove_durably(self.previous / f"{name}.json")
        remove_durably(self.specs / f"{name}.json")

    def require(self, name: str) -> None:
        """Refuse a name that isn't wanted.

        Raises:
            NotFoundError: When it isn't.
        """
        if not NAME_PATTERN.fullmatch(name) or not (self.specs / f"{name}.json").exists():
            known = ", ".join(self.names()) or "none"
            raise NotFoundError(f"no function {name!r} is deployed here (deployed: {known})", hint="eaves status")

    def names(self) -> list[str]:
        """The apps wanted, sorted."""
        return sorted(path.stem for path in self.specs.glob("*.json"))

    def read_specs(self) -> tuple[dict[str, LocalApp], dict[str, str]]:
        """Every app wanted by name, and by name why a spec file can't be read."""
        apps, faults = {}, {}
        for name in self.names():
            try:
                apps[name] = _read_spec(self.specs / f"{name}.json", name)
            except FileNotFoundError:
                continue  # removed since it was listed
            except (EavesError, ValueError, OSError) as error:
                faults[name] = str(error)
            except Exception as error:  # noqa: BLE001 - what is in one file must not keep the others from being read
                faults[name] = f"{type(error).__name__}: {error}"
        return apps, faults

    def list_sources(self, app: str) -> list[str]:
        """The names of the sources that an app wants; none when it isn't wanted or can't be read."""
        found = self.read_specs()[0].get(app)
        return [source.name for source in found.sources] if found else []

    def fingerprint(self) -> tuple[tuple[str, int, int, int], ...]:
        """Return what changes whenever a spec file is written, replaced or removed; much cheaper than reading them.

        Returns:
            Per file: name, inode number, size in bytes, time of the last change in nanoseconds.
        """
        with os.scandir(self.specs) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".json")]
        return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def _write_text(app: LocalApp) -> str:
    return json.dumps(app.to_dict(), indent=2)


def _rewrite(text: str) -> str:
    """A spec file's content as this version writes it: the same app in an earlier version's words is no other app."""
    try:
        return _write_text(parse_app(json.loads(text), origin=""))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is another one
        return text


def _read_spec(path: Path, name: str) -> LocalApp:
    """Read the spec file of one app.

    Raises:
        EavesError: When it isn't a spec, or one of another function.
        ValueError: When it isn't JSON.
        OSError: When it can't be read.
    """
    app = parse_app(json.loads(path.read_text(encoding="utf-8")), origin=path.name)
    if app.function.name != name:
        message = f"must be {name!r}, as the file is called (got {app.function.name!r})"
        raise ConfigError([Fault(origin=path.name, path="function.name", message=message)], hint="eaves deploy")
    return app
