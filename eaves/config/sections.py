"""The configuration engine: parses, validates and completes layers of values, and reports all faults at once.

Each package owns the dataclass of its section; this module knows none of them. A section is a frozen dataclass whose
fields are made with `setting` (`eaves.config.declarations`), which holds the text for help and docs.
The precedence is, lowest first: default, file, environment, flag. A section may define `faults()` for rules
across fields. This module never reads `os.environ`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar, Union

from eaves.config.declarations import COMMAND_LINE, ENVIRONMENT, SettingsLayer, format_number, resolve_types
from eaves.errors import ConfigError, Fault

T = TypeVar("T")
NO_TEXT = "must be a string"


def build(cls: type[T], *layers: SettingsLayer) -> T:
    """Merge layers (lowest precedence first) into a validated section.

    Raises:
        ConfigError: When there are faults, all of which it holds: unknown keys, wrong types, values out of range, rules
            across fields.
    """
    reader = _Reader()
    result = reader.read(cls, list(layers), "", layers[0].origin if layers else "configuration")
    if reader.faults or result is None:
        raise ConfigError(reader.faults)
    return result


def build_flat(
    classes: Sequence[type], values: Mapping[str, Any], *, origin: str, prefix: str = "", beside: Collection[str] = ()
) -> tuple[list[Any], list[Fault]]:
    """Build several sections from one mapping that holds the settings of all of them side by side.

    Args:
        classes: The sections' dataclasses. A setting that several of them have belongs to the first.
        values: The settings.
        origin: Origin of the values, for the faults.
        prefix: Path of the mapping with its trailing dot, for the faults.
        beside: Names of settings at the same place that were removed from `values` before, to suggest for a misspelt
            name.

    Returns:
        The sections in the order of `classes`, unusable when there are faults; and the faults.
    """
    owners = {field.name: cls for cls in reversed(classes) for field in dataclasses.fields(cls)}
    reader, sections = _Reader(), list[Any]()
    reader.refuse_unknown(values, owners, [*owners, *beside], origin, prefix)
    for cls in classes:
        own = {key: value for key, value in values.items() if owners.get(key) is cls}
        sections.append(reader.read(cls, [SettingsLayer(origin=origin, values=own)], prefix, origin))
    return sections, reader.faults


class _Reader:
    """Reads sections from layers.

    Attributes:
        faults: Every fault that was found.
        origins: Origin of each value that was read, by its path.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.origins: dict[str, str] = {}

    def fault(self, origin: str, path: str, message: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(origin=origin, path=path, message=message))

    def refuse_unknown(
        self, values: Mapping[str, Any], known: Collection[str], suggested: Collection[str], origin: str, prefix: str
    ) -> None:
        """Note a fault for each name that isn't known, with the name that was probably meant."""
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), suggested, n=1)
                advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(suggested)}"
                self.fault(origin, f"{prefix}{key}", f"unknown setting; {advice}")

    def read(self, cls: type[T], layers: list[SettingsLayer], prefix: str, origin: str) -> T | None:
        """Build a section and check its rules across fields; None when a value has faults."""
        section = self.build(cls, layers, prefix)
        if section is not None:
            self.check(section, prefix, origin)
        return section

    def build(self, cls: type[T], layers: list[SettingsLayer], prefix: str) -> T | None:
        """Build a section; None when it has faults."""
        hints = resolve_types(typing.cast(type, cls))
        fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        before = len(self.faults)
        collector = next((name for name, field in fields.items() if field.metadata.get("collects")), None)
        if collector is not None:
            layers = [_collect(layer, collector, fields) for layer in layers]
        for layer in layers:
            self.refuse_unknown(layer.values, fields, fields, layer.origin, prefix)
        chosen: dict[str, Any] = {}
        for name, field in fields.items():
            path, hint = f"{prefix}{name}", hints[name]
            holding = [layer for layer in layers if name in layer.values]
            if dataclasses.is_dataclass(hint):
                given = [{} if layer.values.get(name) is None else layer.values[name] for layer in layers]
                inner = [dataclasses.replace(layer, values=one) for layer, one in zip(layers, given, strict=True)]
                for layer in inner:
                    if not isinstance(layer.values, Mapping):
                        self.fault(layer.origin, path, f"must be a mapping (got {layer.values!r})")
                inner = [layer for layer in inner if isinstance(layer.values, Mapping)]
                chosen[name] = self.build(typing.cast(type, hint), inner, path + ".")
            elif holding:
                top = holding[-1]
                self.origins[path] = top.origins.get(path, top.origin)
                chosen[name] = self.parse(top.values[name], hint, field.metadata, self.origins[path], path)
            elif field.default is MISSING and field.default_factory is MISSING:
                named = [layer.origin for layer in layers if layer.origin not in (ENVIRONMENT, COMMAND_LINE)]
                self.fault(named[0] if named else "settings", path, "is required")
        return cls(**chosen) if len(self.faults) == before else None

    def check(self, section: Any, prefix: str, origin: str) -> None:
        """Note what a section's `faults` method and those of its nested sections find, innermost first."""
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if dataclasses.is_dataclass(value):
                self.check(value, f"{prefix}{field.name}.", origin)
        own = getattr(section, "faults", tuple)
        for path, message in (*_find_malformed(section), *own()):
            full = f"{prefix}{path}"
            given = [one for name, one in self.origins.items() if name == full or name.startswith(f"{full}.")]
            self.fault(given[-1] if given else origin, full, message)

    def parse(self, value: Any, hint: Any, metadata: Mapping[str, Any], origin: str, path: str) -> Any:
        """Parse the value of a setting."""

        def fault(message: str) -> None:
            self.fault(origin, path, f"{message} (got {value!r:.80})")

        container = typing.get_origin(hint)
        if container in (Union, types.UnionType):
            options = [option for option in typing.get_args(hint) if option is not type(None)]
            if value is None:
                return None
            hint, container = options[0], typing.get_origin(options[0])
            if dataclasses.is_dataclass(hint):
                return self.parse_section(value, typing.cast(type, hint), origin, path)
        if container is tuple:
            return self.parse_list(value, typing.get_args(hint)[0], metadata, origin, path)
        if container is dict or container is Mapping:
            if not isinstance(value, Mapping):
                return fault("must be a mapping")
            is_open = metadata.get("collects") or metadata.get("nested")
            return self.parse_mapping(value, origin, path, is_open=bool(is_open))
        try:
            parsed = _parse_scalar(value, hint)
        except ValueError as error:
            return fault(str(error))
        low, high, choices = metadata.get("minimum"), metadata.get("maximum"), metadata.get("choices", ())
        if low is not None and parsed < low:
            fault(f"must be >= {format_number(low)}")
        if high is not None and parsed > high:
            fault(f"must be <= {format_number(high)}")
        if choices and parsed not in choices:
            fault(f"must be one of {', '.join(choices)}")
        return parsed

    def parse_mapping(
        self, values: Mapping[Any, Any], origin: str, path: str, *, is_open: bool
    ) -> dict[str, str | Mapping[str, Any]]:
        """Parse a mapping of anything, or of strings: others are refused, as Python would write `no` as `False`."""
        if is_open:
            return {str(key): item for key, item in values.items()}
        for key, item in values.items():
            if not isinstance(item, str | int | Mapping) or isinstance(item, bool):
                self.fault(origin, f"{path}.{key}", f"{NO_TEXT} (got {item!r:.80})")
        return {str(key): item if isinstance(item, Mapping) else str(item) for key, item in values.items()}

    def parse_list(self, value: Any, item: Any, metadata: Mapping[str, Any], origin: str, path: str) -> Any:
        """Parse a list of values, or of sections."""
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, Sequence):
            self.fault(origin, path, f"must be a list (got {value!r})")
            return ()
        parsed = []
        for index, entry in enumerate(value):
            where = f"{path}[{index}]"
            if not dataclasses.is_dataclass(item):
                parsed.append(self.parse(entry, item, metadata, origin, where))
                continue
            section = self.parse_section(entry, typing.cast(type, item), origin, where)
            if section is not None:
                self.check(section, where + ".", origin)
            parsed.append(section)
        return tuple(parsed)

    def parse_section(self, value: Any, cls: type[T], origin: str, path: str) -> T | None:
        """Build an optional section, or one of a list, without its rules across fields; None when it has faults."""
        if isinstance(value, Mapping):
            return self.build(cls, [SettingsLayer(origin=origin, values=value)], path + ".")
        self.fault(origin, path, f"must be a mapping (got {value!r:.80})")
        return None


def _find_malformed(section: Any) -> Iterator[tuple[str, str]]:
    """Yield the path and message of each text of a section that doesn't have the form which its setting declares."""
    for field in dataclasses.fields(section):
        form, value = field.metadata.get("form"), getattr(section, field.name)
        if form is not None and not form.pattern.fullmatch(value):
            yield field.name, f"must be {form.description} (got {value!r:.80})"


def _collect(layer: SettingsLayer, collector: str, known: Collection[str]) -> SettingsLayer:
    """Return the layer with all settings that the section doesn't know moved into the mapping `collector`."""
    unknown = {str(key): value for key, value in layer.values.items() if key not in known}
    given = layer.values.get(collector)
    if not unknown or not (given is None or isinstance(given, Mapping)):
        return layer
    values = {key: value for key, value in layer.values.items() if key in known}
    return dataclasses.replace(layer, values={**values, collector: {**(given or {}), **unknown}})


_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def _parse_scalar(value: Any, hint: Any) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise ValueError("must be true or false")
    if hint in (int, float):
        return _parse_number(value, hint)
    if hint is Path:
        if not isinstance(value, (str, Path)) or not str(value):
            raise ValueError("must be a path")
        return Path(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(NO_TEXT)  # noqa: TRY004 - a fault of the value, like every other
    return value


def _parse_number(value: Any, hint: Any) -> int | float:
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is int and isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,100}\s*", value):
        return int(value)  # not via float, which is exact only up to 53 bits
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not math.isfinite(number) or (hint is int and not number.is_integer()):
        raise ValueError(f"must be a{'n integer' if hint is int else ' number'}")
    return int(number) if hint is int else number
