"""Stores the settings of a run beside its checkpoints, so that the run can be continued by its name alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError, Fault, RunError
from trainer.data.remote import redact_uri
from trainer.run.run import CONFIG, MANIFEST, checkpoints_beside
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import FileStore

SETTINGS = "settings.json"
CHANGEABLE = frozenset({"checkpoint_s", "cache", "usable_accuracy"})
"""Settings of `train` that may differ when a run is continued, because they change no weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSettings:
    """The settings of one run.

    Attributes:
        output: Directory of the run.
        data: Settings of the section `data` by name; a URL has no password or signature.
        train: Settings of the section `train` by name.
    """

    output: Path
    data: dict[str, Any]
    train: dict[str, Any]


def save_settings(store: FileStore, data: DataSettings, settings: TrainSettings) -> None:
    """Write the settings of an unfinished run beside its checkpoints.

    Raises:
        StorageError: The settings can't be written.
    """
    store.write(SETTINGS, render_settings(data, settings))


def render_settings(data: DataSettings, settings: TrainSettings) -> bytes:
    """Return the JSON content of the file `SETTINGS` with the settings of both sections."""
    text = json.dumps({"data": data.to_dict(), "train": settings.to_dict()}, ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def load_settings(output: Path) -> StoredSettings | None:
    """Load the settings of the run in a directory, finished or not; return None when there is no run.

    Raises:
        RunError: The file that holds them is damaged.
    """
    complete = (output / MANIFEST).is_file()
    file = output / CONFIG if complete else checkpoints_beside(output) / SETTINGS
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return StoredSettings(output=output, data=dict(values["data"]), train=dict(values["train"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file} can't be read: {error}", hint="remove the file to start the training from the beginning"
        ) from error


def continue_settings(
    stored: StoredSettings, data: DataSettings, settings: TrainSettings, *, given: Collection[str]
) -> tuple[DataSettings, TrainSettings]:
    """Return the settings to continue a run with: those it was started with, except the ones in `CHANGEABLE`.

    Args:
        stored: Settings that the run was started with.
        data: Settings of the section `data` that a new run would have now.
        settings: Settings of the section `train` that a new run would have now.
        given: Dotted paths, `train.epochs`, of the settings that the command line names.

    Returns:
        settings: Settings of both sections; those in `CHANGEABLE` have their new values.

    Raises:
        ConfigError: The command line names a setting with another value than the run was started with.
    """
    train = {name: value for name, value in stored.train.items() if name in {field.name for field in fields(settings)}}
    place = str(stored.data["path"])
    now = {f"train.{name}": getattr(settings, name) for name in train} | {"data.path": redact_uri(str(data.path))}
    before = {f"train.{name}": value for name, value in train.items()} | {"data.path": place}
    changeable = {f"train.{name}" for name in CHANGEABLE}
    faults = [
        Fault(
            origin="command line",
            path=path,
            message=f"{stored.output} was started with {before[path]!r} (got {now[path]!r})",
        )
        for path in sorted(given)
        if path in before and path not in changeable and now[path] != before[path]
    ]
    if faults:
        hint = "leave the setting out to continue the run as it was started, or name another directory for a new run"
        raise ConfigError(faults, hint=hint)
    for name in CHANGEABLE:
        train[name] = getattr(settings, name)
    origin = f"settings of {stored.output}"
    images = build(DataSettings, SettingsLayer(origin=origin, values=stored.data))
    if now["data.path"] == place:
        images = replace(images, path=data.path)  # the given path has the password or signature, which is not stored
    return images, build(TrainSettings, SettingsLayer(origin=origin, values=train))
