"""Stores the settings of a run beside its checkpoints, so that the run can be continued by its name alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError, Fault, RunError
from trainer.data.split.stored_split import SETTINGS
from trainer.run.run import CONFIG, MANIFEST, checkpoints_beside
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import open_store

CHANGEABLE = ("checkpoint_s", "cache", "usable_accuracy")
"""Settings of `train` that may differ when a run is continued, because they change no weight."""


def render_settings(data: DataSettings, settings: TrainSettings) -> bytes:
    """Return the settings of both sections as JSON; a URL has no password or signature."""
    text = json.dumps({"data": data.to_dict(), "train": settings.to_dict()}, ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def save_settings(output: Path, data: DataSettings, settings: TrainSettings) -> None:
    """Write the settings of the unfinished run at `output` beside its checkpoints.

    Raises:
        StorageError: The settings can't be written.
    """
    open_store(checkpoints_beside(output)).write(SETTINGS, render_settings(data, settings))


def continue_settings(
    output: Path, data: DataSettings, settings: TrainSettings, *, given: Collection[str]
) -> tuple[DataSettings, TrainSettings]:
    """Return the settings that a run was started with, but for those in `CHANGEABLE`; the given ones for a new run.

    Args:
        output: Directory of the run, finished or not.
        data: Settings of the section `data` that a new run would have now.
        settings: Settings of the section `train` that a new run would have now.
        given: Dotted paths, `train.epochs`, of the settings that the command line names.

    Raises:
        ConfigError: The command line names a setting with another value than the run was started with.
        RunError: The file with the run's settings is damaged.
    """
    if (stored := _load(output)) is None:
        return data, settings
    before, now = (
        {"data.path": sections["data"]["path"], **{f"train.{name}": value for name, value in sections["train"].items()}}
        for sections in (stored, json.loads(render_settings(data, settings)))
    )
    faults = [
        Fault(
            origin="command line",
            path=path,
            message=f"{output} was started with {before.get(path)!r} (got {now[path]!r})",
        )
        for path in sorted({*given} - {f"train.{name}" for name in CHANGEABLE})
        if now[path] != before.get(path)
    ]
    if faults:
        hint = "leave the setting out to continue the run as it was started, or name another directory for a new run"
        raise ConfigError(faults, hint=hint)
    origin = f"settings of {output}"
    images = build(DataSettings, SettingsLayer(origin=origin, values=stored["data"]))
    if now["data.path"] == before["data.path"]:
        images = replace(images, path=data.path)  # the given path has the password or signature, which is not stored
    train = stored["train"] | {name: getattr(settings, name) for name in CHANGEABLE}
    return images, build(TrainSettings, SettingsLayer(origin=origin, values=train))


def _load(output: Path) -> dict[str, dict[str, Any]] | None:
    """Load the settings of both sections; None when there is no run."""
    file = output / CONFIG if (output / MANIFEST).is_file() else checkpoints_beside(output) / SETTINGS
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {"data": {"path": values["data"]["path"], **values["data"]}, "train": {**values["train"]}}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "remove the file to start the training from the beginning"
        raise RunError(f"{file} can't be read: {error}", hint=hint) from error
