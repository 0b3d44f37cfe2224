"""Triggers of eaves.yaml as this machine's platform gets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from eaves.cli.project import Workspace
from eaves.credentials import has_secrets, read_credentials, redact
from eaves.errors import ConfigError, Fault
from eaves.platform import TriggerSpec


def build_local_triggers(workspace: Workspace) -> tuple[TriggerSpec, ...]:
    """The project's triggers, with the folders of credentials as seen from here; warns of a password in an address.

    Raises:
        ConfigError: When a folder of credentials can't be used.
    """
    triggers = []
    for index, trigger in enumerate(workspace.project.triggers):
        if trigger.mqtt.credentials is not None:
            folder = workspace.path(trigger.mqtt.credentials).absolute()
            _check_folder(folder, workspace.origin, index)
            trigger = replace(trigger, mqtt=replace(trigger.mqtt, credentials=folder))  # noqa: PLW2901 - the same one
        if has_secrets(trigger.url):
            click.echo(f"warning: {workspace.origin}: triggers[{index}].url: {_advice(trigger)}", err=True)
        triggers.append(trigger)
    return tuple(triggers)


def _check_folder(folder: Path, origin: str, index: int) -> None:
    try:
        read_credentials(folder)
    except ConfigError as error:
        path = f"triggers[{index}].mqtt.credentials"
        faults = [Fault(origin=origin, path=path, message=f"{one.path} {one.message}") for one in error.faults]
        raise ConfigError(faults, hint=error.hint) from error


def _advice(trigger: TriggerSpec) -> str:
    shown = redact(trigger.url)
    if not trigger.is_mqtt:
        return f"a password or token in an address is kept in plain text, and can't be used on a cluster ({shown})"
    return (
        f"a password in an address is kept in plain text, and can't be used on a cluster ({shown}); put it into the "
        "file `password` of a folder, the user into `username`, and name the folder as `mqtt: {credentials: FOLDER}`"
    )
