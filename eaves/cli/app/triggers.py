"""Loading of the triggers and the relay in eaves.yaml for this machine.

Credentials are checked, and their paths are made absolute.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from eaves.cli.app.event_attributes import warn_of_attributes
from eaves.cli.app.project import Workspace
from eaves.cli.display.output import say
from eaves.credentials.folder import read_credentials
from eaves.credentials.redact import has_secrets
from eaves.delivery.mqtt.settings import MqttTriggerSettings
from eaves.errors import ConfigError, Fault
from eaves.platform import RelaySpec, TriggerSpec

T = TypeVar("T", TriggerSpec, RelaySpec, MqttTriggerSettings)


def resolve_triggers(workspace: Workspace) -> tuple[TriggerSpec, ...]:
    """Return the triggers in eaves.yaml, with absolute paths of their folders of credentials.

    Prints a warning for each address that holds a password, and for each event attribute that a trigger names although
    no event has it.

    Raises:
        ConfigError: When folders of credentials can't be used; it holds a fault for each.
    """
    warn_of_attributes(workspace.project.triggers, workspace.origin, relay=workspace.project.relay)
    resolved: list[TriggerSpec] = []
    faults: list[Fault] = []
    for number, trigger in enumerate(workspace.project.triggers):
        prefix = f"{workspace.origin}: triggers[{number}]"
        if has_secrets(trigger.url):
            say(f"warning: {prefix}.url holds a password or token; {_advise(trigger)}")
        folder = trigger.mqtt.credentials
        if folder is not None:
            folder = workspace.path(folder).absolute()
            faults += _find_faults(folder, workspace.origin, f"triggers[{number}].mqtt.credentials")
        mqtt = replace(_take_common(MqttTriggerSettings, trigger.mqtt), credentials=folder)
        resolved.append(replace(_take_common(TriggerSpec, trigger), mqtt=mqtt))
    if faults:
        raise ConfigError(faults, hint="name a folder with the files username and password that only you may read")
    return tuple(resolved)


def resolve_relay(workspace: Workspace) -> RelaySpec:
    """Return the relay in eaves.yaml, with the absolute path of its folder of credentials.

    Raises:
        ConfigError: When the folder of credentials can't be used.
    """
    relay = _take_common(RelaySpec, workspace.project.relay)
    if not relay.enabled or relay.credentials is None:
        return relay
    folder = workspace.path(relay.credentials).absolute()
    faults = _find_faults(folder, workspace.origin, "relay.credentials")
    if not faults and not (found := read_credentials(folder)).token and found.certificate is None:
        message = (
            f"{folder} holds neither token nor tls.crt with tls.key, one of which the receiver needs to recognise "
            "this site"
        )
        faults = [Fault(origin=workspace.origin, path="relay.credentials", message=message)]
    if faults:
        raise ConfigError(faults, hint="name a folder with the files token and ca.crt that only you may read")
    return replace(relay, credentials=folder)


def _take_common(cls: type[T], spec: T) -> T:
    """Return a copy of a spec for a cluster that has only the settings which every platform has.

    Args:
        cls: Class of the copy, such as `TriggerSpec`.
        spec: Spec of a subclass, which has the settings for clusters as well.
    """
    return cls(**{one.name: getattr(spec, one.name) for one in fields(cls)})


def _find_faults(folder: Path, origin: str, path: str) -> list[Fault]:
    try:
        read_credentials(folder)
    except ConfigError as error:
        return [Fault(origin=origin, path=path, message=f"{one.path} {one.message}") for one in error.faults]
    return []


def _advise(trigger: TriggerSpec) -> str:
    if trigger.is_mqtt:
        return (
            "write it to the files username and password in a folder that only you may read, and set "
            "`mqtt: {credentials: FOLDER}`"
        )
    return "remove it from eaves.yaml: the file isn't private, and a deployment to a cluster refuses it"
