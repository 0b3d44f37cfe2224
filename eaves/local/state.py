"""The state directory of one local platform: its spec files, queues, logs and control socket."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eaves.base.disk_errors import FULL, READ_ONLY
from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError, NotFoundError
from eaves.platform import AppSpec, FunctionSpec

AGENT = "agent"
"""Last part of the name of an agent's log (`APP.agent`), which can't be the name of a source."""
CONSOLE = "up.console"
"""Name of the log of the console's process; as it has a dot, no function's log has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory:
    """Paths of all files in one state directory; creating this object doesn't access the disk."""

    root: Path

    @property
    def specs(self) -> Path:
        """Directory of the specs of deployed apps, with one file `NAME.json` for each app."""
        return self.root / "specs"

    @property
    def previous(self) -> Path:
        """Directory of each app's previous spec, `NAME.json`, which `eaves rollback` restores."""
        return self.root / "previous"

    @property
    def rollouts(self) -> Path:
        """Directory of the apps' rollouts, `NAME.json`, see `eaves.local.rollouts`, which lock it."""
        return self.root / "rollouts"

    @property
    def logs(self) -> Path:
        """Directory of the processes' logs, with one file `NAME.log` for each process."""
        return self.root / "logs"

    @property
    def spool(self) -> Path:
        """File of the broker's durable queue."""
        return self.root / "spool.db"

    @property
    def history(self) -> Path:
        """File of the history of accepted events."""
        return self.root / "history.db"

    @property
    def thumbnails(self) -> Path:
        """File of the thumbnails that the console keeps."""
        return self.root / "thumbnails.db"

    @property
    def audits(self) -> Path:
        """Directory with what the audit sample says of each app's model, `NAME.json`."""
        return self.root / "audits"

    @property
    def jobs(self) -> Path:
        """Directory of the jobs that pages of the console start, with one folder for each kind."""
        return self.root / "jobs"

    @property
    def graphs(self) -> Path:
        """Folder of the graphs that were prepared for this machine, see `eaves.inference.prepared_graphs`."""
        return self.root / "graphs"

    @property
    def lock(self) -> Path:
        """Lock file that the running supervisor holds."""
        return self.root / "up.lock"

    @property
    def socket(self) -> Path:
        """Path of the control socket."""
        return self.root / "control.sock"

    def spool_of(self, app: str, kind: str = AGENT) -> Path:
        """Return the file of the durable queue of an app's agent or relay."""
        return self.root / f"{kind}s" / f"{app}.db"

    def socket_of(self, app: str, kind: str = AGENT) -> Path:
        """Return the admin socket of an app's agent or relay."""
        return self.root / f"{kind}s" / f"{app}.sock"

    def list_relays(self) -> list[str]:
        """Return the apps for which a relay's queue exists in this directory, whether they are deployed or not."""
        return sorted(path.stem for path in (self.root / "relays").glob("*.db"))

    def log(self, name: str) -> Path:
        """Return the log file of a function or of another process with this name."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories, accessible only to this user.

        Raises:
            ConfigError: When they can't be made.
            OSError: When the disk is full or read-only.
        """
        try:
            folders = (self.specs, self.previous, self.rollouts, self.logs, self.root / "agents", self.root / "relays")
            for folder in (self.root, *folders):
                make_directory(folder)
            self.root.chmod(0o700)  # it holds images and predictions
        except OSError as error:
            if error.errno in FULL | READ_ONLY:
                raise
            raise ConfigError.single(
                "state directory",
                "",
                f"{self.root} can't be created: {error.strerror}",
                hint="choose another directory with --state",
            ) from error

    def write_spec(self, app: LocalApp) -> None:
        """Replace an app's spec file in one step. The previous spec is kept for `roll_back`."""
        self.prepare()
        target = self.specs / f"{app.function.name}.json"
        text = json.dumps(app.to_dict(), indent=2)
        before = target.read_text(encoding="utf-8", errors="replace") if target.exists() else text
        if text != before:
            write_atomically(self.previous / target.name, before)
        write_atomically(target, text)
        self._prune_graphs()

    def roll_back(self, name: str) -> None:
        """Restore the previous spec; the current spec becomes the previous one.

        Raises:
            NotFoundError: When there is no previous spec.
        """
        self.require(name)
        target, kept = self.specs / f"{name}.json", self.previous / f"{name}.json"
        if not kept.exists():
            raise NotFoundError(f"{name} was deployed only once, so there is no earlier version", hint="eaves deploy")
        now, before = (path.read_text(encoding="utf-8", errors="replace") for path in (target, kept))
        write_atomically(target, before)
        write_atomically(kept, now)

    def remove_spec(self, name: str) -> None:
        """Remove an app's spec file.

        Raises:
            NotFoundError: When there is no app with this name.
        """
        self.require(name)
        remove_durably(self.previous / f"{name}.json")
        remove_durably(self.specs / f"{name}.json")
        self._prune_graphs()

    def _prune_graphs(self) -> None:
        """Remove prepared graphs of artifacts that no spec, no previous spec and no rollout names."""
        specs = ""
        for path in (file for folder in (self.specs, self.previous, self.rollouts) for file in folder.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):  # removed after it was listed
                specs += path.read_text(encoding="utf-8", errors="replace")
        for graph in self.graphs.glob("[!.]*"):
            if graph.name.partition("-")[0] not in specs:
                shutil.rmtree(graph, ignore_errors=True)

    def require(self, name: str) -> None:
        """Check that an app with this name is deployed.

        Raises:
            NotFoundError: When no such app is deployed.
        """
        if not NAME_PATTERN.fullmatch(name) or not (self.specs / f"{name}.json").exists():
            known = ", ".join(self.names()) or "none"
            raise NotFoundError(f"no function {name!r} is deployed (deployed: {known})", hint="eaves status")

    def names(self) -> list[str]:
        """Return the names of the deployed apps, sorted."""
        return sorted(path.stem for path in self.specs.glob("*.json"))

    def read_specs(self) -> tuple[dict[str, LocalApp], dict[str, str]]:
        """Return the spec by app of every readable spec file, and the reason by app for each that can't be read."""
        apps, faults = {}, {}
        for name in self.names():
            try:
                apps[name] = self.read_spec(name)
            except FileNotFoundError:
                continue  # removed after it was listed
            except Exception as error:  # noqa: BLE001 - what is in one file must not keep the others from being read
                faults[name] = str(error) or type(error).__name__
        return apps, faults

    def read_spec(self, name: str) -> LocalApp:
        """Read the spec file of one app.

        Raises:
            EavesError: When the file isn't a spec, or is the spec of another function.
            ValueError: When the file isn't JSON.
            OSError: When the file can't be read.
        """
        path = self.specs / f"{name}.json"
        app = parse_app(json.loads(path.read_text(encoding="utf-8")), origin=path.name)
        if app.function.name != name:
            message = f"must be {name!r}, the name of the file (got {app.function.name!r})"
            raise ConfigError.single(path.name, "function.name", message, hint="eaves deploy")
        return app

    def list_sources(self, app: str) -> list[str]:
        """Return the names of a deployed app's sources; none when it isn't deployed or can't be read."""
        found = self.read_specs()[0].get(app)
        return [source.name for source in found.sources] if found else []

    def fingerprint(self) -> tuple[tuple[str, int, int, int], ...]:
        """Return a value that changes whenever a spec or a rollout is written or removed, without reading the files.

        Returns:
            For each file: path, inode number, size in bytes, time of the last change in nanoseconds.
        """
        found = []
        for folder in (self.specs, self.rollouts):
            with os.scandir(folder) as entries:
                found += [(entry.path, entry.stat()) for entry in entries if entry.name.endswith(".json")]
        return tuple(sorted((path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFunction(FunctionSpec):
    """Spec of a function on this machine.

    Attributes:
        artifact: Directory of the artifact.
    """

    artifact: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApp(AppSpec):
    """Spec of an app that one `eaves deploy` deploys on this machine.

    Attributes:
        function: Spec of the function, with its artifact.
    """

    function: LocalFunction

    def to_dict(self) -> dict[str, Any]:
        """Return the app as plain data for a file."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return values


def parse_app(values: Mapping[str, Any], origin: str) -> LocalApp:
    """Parse a spec file's content.

    Raises:
        ConfigError: When there are faults; it holds all of them.
    """
    return build(LocalApp, SettingsLayer(origin=origin, values=values))
