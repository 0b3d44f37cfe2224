"""Table of all settings by section, which `eaves settings` and docs/reference.md print."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from eaves.cli.app.project import Project
from eaves.config import SettingsLeaf, is_scalar, iter_leaves
from eaves.local.settings import LocalSettings
from eaves.sources.camera.kind import CameraSettings
from eaves.sources.claim_check import ClaimCheckSettings
from eaves.sources.folder.kind import FolderSourceSettings
from eaves.sources.http.kind import HttpSourceSettings
from eaves.sources.mqtt.kind import MqttSourceSettings
from eaves.sources.options import FrameOptions
from eaves.sources.replay import ReplaySourceSettings
from eaves.sources.s3.kind import S3SourceSettings
from knative.settings import SiteSettings
from knative.specs import ClusterSource, ClusterTrigger

COMMANDS = {"train": "eaves train", "convert": "eaves convert", "pipeline": "eaves pipeline", "up": "eaves up"}
"""Name of a section to the command whose flags set the section's settings."""
UP = "up"
"""Name of the section with the settings of `eaves up`, which eaves.yaml does not hold."""
_FLAGS = {"data.path": "eaves train --data"}
_ENDINGS = (
    ("rate_bytes", "bytes per second"),
    ("_bytes_s", "bytes per second"),
    ("_bytes", "bytes"),
    ("_pixels", "pixels"),
    ("_days", "days"),
    ("_gb", "GB"),
    ("_mb", "MB"),
    ("_ms", "milliseconds"),
    ("_s", "seconds"),
)
"""Ending of a setting's name to the unit of its value; the first ending that matches counts."""
_TYPES: dict[Any, str] = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSection:
    """One section of the settings of eaves.yaml or of `eaves up`.

    Attributes:
        name: Dotted name of the section; empty for the settings at the top of eaves.yaml.
        doc: Description of the section.
        cls: Dataclass of the section.
        place: Dotted path of the settings in eaves.yaml, when it differs from the name.
        listed: Whether eaves.yaml has a list of such sections, which have neither variables nor flags.
    """

    name: str
    doc: str
    cls: type
    place: str = ""
    listed: bool = False

    def settings(self) -> list[SettingsLeaf]:
        """Return the section's settings, each with its dotted path from the top of eaves.yaml."""
        place = self.place or self.name
        leaves = list(iter_leaves(self.cls, f"{place}." if place else ""))
        sections = {section.name for section in SECTIONS}
        return leaves if self.name else [leaf for leaf in leaves if leaf.path.partition(".")[0] not in sections]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One setting as `eaves settings` and docs/reference.md show it.

    Attributes:
        section: Name of its section; empty at the top of eaves.yaml.
        setting: Dotted path of the setting.
        doc: Meaning of the setting.
        type: Type of its values in words, or the allowed values.
        range: Range of a number, such as `>= 0`; empty when there is none.
        minimum: Smallest allowed number; None when there is no limit.
        maximum: Largest allowed number; None when there is no limit.
        unit: Unit of its values; empty where they have none.
        default: Default value; None for none.
        required: Whether a value must be given.
        flag: Command and flag that set it; empty where there is none.
        variable: Environment variable that sets it; empty where there is none.
    """

    section: str
    setting: str
    doc: str
    type: str
    range: str
    minimum: float | None
    maximum: float | None
    unit: str
    default: Any
    required: bool
    flag: str
    variable: str


def _list_sections() -> Iterator[SettingsSection]:
    hints = typing.get_type_hints(Project)
    yield SettingsSection(name="", doc="Names, and where images are predicted.", cls=Project)
    for field in dataclasses.fields(Project):
        if dataclasses.is_dataclass(hints[field.name]):
            yield SettingsSection(name=field.name, doc=field.metadata["doc"], cls=hints[field.name])
        elif field.name in _LISTED:
            yield SettingsSection(name=field.name, doc=field.metadata["doc"], cls=_LISTED[field.name], listed=True)
    for kind, cls in SOURCE_KINDS.items():
        yield SettingsSection(
            name=f"sources.{kind}",
            doc=f"Settings of a source of kind {kind}, beside those of every source.",
            cls=cls,
            place="sources",
            listed=True,
        )
    yield SettingsSection(
        name="sources.options",
        doc="Settings of every source that select, crop and encode its images.",
        cls=FrameOptions,
        place="sources",
        listed=True,
    )
    yield SettingsSection(
        name="sources.claim_check",
        doc="Settings of every source that store large images in a bucket.",
        cls=ClaimCheckSettings,
        place="sources",
        listed=True,
    )
    yield SettingsSection(
        name=UP, doc="Settings of `eaves up`; they are flags and variables, not in eaves.yaml.", cls=LocalSettings
    )


_LISTED: dict[str, type] = {"triggers": ClusterTrigger, "sources": ClusterSource, "sites": SiteSettings}
SOURCE_KINDS: dict[str, type] = {
    "folder": FolderSourceSettings,
    "camera": CameraSettings,
    "http": HttpSourceSettings,
    "replay": ReplaySourceSettings,
    "mqtt": MqttSourceSettings,
    "s3": S3SourceSettings,
}
"""Kind of source to the dataclass of its settings."""
SECTIONS = tuple(_list_sections())
"""Every section in the order of eaves.yaml, then the sections of sources, then that of the local platform."""


def describe_setting(leaf: SettingsLeaf, section: SettingsSection) -> SettingDescription:
    """Describe one setting of a section.

    Args:
        leaf: The setting.
        section: Section of the setting.
    """
    required = leaf.default is MISSING
    default = None if required else list(leaf.default) if isinstance(leaf.default, tuple) else leaf.default
    alone = is_scalar(leaf.type) and not section.listed
    return SettingDescription(
        section=section.name,
        setting=leaf.path,
        doc=leaf.doc,
        type=_describe_type(leaf),
        range=leaf.range,
        minimum=leaf.minimum,
        maximum=leaf.maximum,
        unit=next((unit for end, unit in _ENDINGS if leaf.path.endswith(end)), "") if _is_number(leaf.type) else "",
        default=str(default) if isinstance(default, Path) else default,
        required=required,
        flag=_find_flag(leaf, section) if alone else "",
        variable=leaf.env if alone else "",
    )


def _find_flag(leaf: SettingsLeaf, section: SettingsSection) -> str:
    if section.name not in COMMANDS:
        return _FLAGS.get(leaf.path, "")
    flag = leaf.path.removeprefix(f"{section.name}.").replace(".", "-").replace("_", "-")
    return f"{COMMANDS[section.name]} --{'[no-]' if leaf.type is bool else ''}{flag}"


def _is_number(hint: Any) -> bool:
    return bool({int, float} & {hint, *typing.get_args(hint)})


def _describe_type(leaf: SettingsLeaf) -> str:
    if leaf.choices:
        one_of = "any of" if typing.get_origin(leaf.type) is tuple else "one of"
        return f"{one_of} {', '.join(choice or repr(choice) for choice in leaf.choices)}"
    options = [option for option in typing.get_args(leaf.type) if option is not type(None)]
    origin = typing.get_origin(leaf.type)
    if leaf.type in _TYPES:
        return _TYPES[leaf.type]
    if origin is tuple:
        return "list of texts" if options[0] is str else "list of mappings"
    if origin is dict or "Mapping" in str(origin):
        return "mapping"
    return "path or URI" if set(options) == {str, Path} else _TYPES.get(options[0], "text") if options else "text"
