"""The settings that a run was started with, kept beside its checkpoints, so that its name alone continues it."""

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
"""Settings of `train` that may differ when a run is continued: they change no weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSettings:
    """The settings of one run.

    Attributes:
        output: The run's directory.
        data: Setting to value of the section `data`; a URL is without its password or signature.
        train: The same of the section `train`.
    """

    output: Path
    data: dict[str, Any]
    train: dict[str, Any]


def save_settings(store: FileStore, data: DataSettings, settings: TrainSettings) -> None:
    """Write the settings of a run that is not complete beside its checkpoints.

    Raises:
        StorageError: They can't be written.
    """
    store.write(SETTINGS, render_settings(data, settings))


def render_settings(data: DataSettings, settings: TrainSettings) -> bytes:
    """The content of the file `SETTINGS`, JSON."""
    text = json.dumps({"data": data.to_dict(), "train": settings.to_dict()}, ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def load_settings(output: Path) -> StoredSettings | None:
    """The settings of the run in a directory, complete or not; None when there is no run.

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
        raise RunError(f"{file} can't be read: {error}", hint="remove it to start the training afresh") from error


def continue_settings(
    stored: StoredSettings, data: DataSettings, settings: TrainSettings, *, given: Collection[str]
) -> tuple[DataSettings, TrainSettings]:
    """The settings that continue a run: its own.

    Args:
        stored: Those that the run was started with.
        data: Those that would start a new run now.
        settings: The same of the section `train`.
        given: Dotted paths, `train.epochs`, of the settings that the command line names.

    Returns:
        settings: Of both sections. The settings in `CHANGEABLE` are the given ones.

    Raises:
        ConfigError: A setting that the command line names is not as the run was started with.
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
        images = replace(images, path=data.path)  # with the password or signature that is not stored
    return images, build(TrainSettings, SettingsLayer(origin=origin, values=train))
