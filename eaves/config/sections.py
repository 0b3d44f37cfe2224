"""The configuration engine: parses, validates and completes layers of values, and reports all faults at once.

Each package owns the dataclass of its section; this module knows none of them. A section is a frozen dataclass whose
fields are made with `setting` (`eaves.config.declarations`), which holds the text for help, docs and `eaves settings`.
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
    faults: list[Fault] = []
    result = _build(cls, list(layers), "", faults)
    if result is not None and not faults:
        faults.extend(_own_faults(result, layers, ""))
    if faults or result is None:
        raise ConfigError(faults)
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
    owners: dict[str, type] = {}
    for cls in classes:
        for field in dataclasses.fields(cls):
            owners.setdefault(field.name, cls)
    faults = [
        Fault(origin=origin, path=f"{prefix}{key}", message=f"unknown setting; {_advise(str(key), [*owners, *beside])}")
        for key in values
        if key not in owners
    ]
    sections: list[Any] = []
    for cls in classes:
        layer = SettingsLayer(
            origin=origin, values={key: value for key, value in values.items() if owners.get(key) is cls}
        )
        found: list[Fault] = []
        section = _build(cls, [layer], "", found)
        if section is not None and not found:
            found.extend(_own_faults(section, [layer], ""))
        faults += [dataclasses.replace(fault, path=f"{prefix}{fault.path}") for fault in found]
        sections.append(section)
    return sections, faults


def _build(cls: type[T], layers: list[SettingsLayer], prefix: str, faults: list[Fault]) -> T | None:
    hints = resolve_types(typing.cast(type, cls))
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    before = len(faults)
    collector = next((name for name, field in fields.items() if field.metadata.get("collects")), None)
    if collector is not None:
        layers = [_collect(layer, collector, fields) for layer in layers]
    for layer in layers:
        for key in layer.values:
            if key not in fields:
                advice = _advise(str(key), fields)
                faults.append(Fault(origin=layer.origin, path=f"{prefix}{key}", message=f"unknown setting; {advice}"))
    chosen: dict[str, Any] = {}
    for name, field in fields.items():
        path, hint = f"{prefix}{name}", hints[name]
        holding = [layer for layer in layers if name in layer.values]
        if dataclasses.is_dataclass(hint):
            inner = _inner_layers(layers, name, path, faults)
            chosen[name] = _build(typing.cast(type, hint), inner, path + ".", faults)
        elif holding:
            top = holding[-1]
            origin = top.origins.get(path, top.origin)
            chosen[name] = _parse(top.values[name], hint, field.metadata, origin, path, faults)
        elif field.default is MISSING and field.default_factory is MISSING:
            named = [layer.origin for layer in layers if layer.origin not in (ENVIRONMENT, COMMAND_LINE)]
            faults.append(Fault(origin=named[0] if named else "settings", path=path, message="is required"))
    return cls(**chosen) if len(faults) == before else None


def _collect(layer: SettingsLayer, collector: str, known: Collection[str]) -> SettingsLayer:
    """Return the layer with all settings that the section doesn't know moved into the mapping `collector`."""
    unknown = {str(key): value for key, value in layer.values.items() if key not in known}
    given = layer.values.get(collector)
    if not unknown or not (given is None or isinstance(given, Mapping)):
        return layer
    values = {key: value for key, value in layer.values.items() if key in known}
    return dataclasses.replace(layer, values={**values, collector: {**(given or {}), **unknown}})


def _advise(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _inner_layers(layers: list[SettingsLayer], name: str, path: str, faults: list[Fault]) -> list[SettingsLayer]:
    """Return each layer's values for a nested section; a layer without values keeps its origin."""
    inner = []
    for layer in layers:
        values = layer.values.get(name)
        if values is None:
            values = {}
        if not isinstance(values, Mapping):
            faults.append(Fault(origin=layer.origin, path=path, message=f"must be a mapping (got {values!r})"))
            continue
        inner.append(SettingsLayer(origin=layer.origin, values=values, origins=layer.origins))
    return inner


def _parse(value: Any, hint: Any, metadata: Mapping[str, Any], origin: str, path: str, faults: list[Fault]) -> Any:
    def fault(message: str) -> None:
        faults.append(Fault(origin=origin, path=path, message=f"{message} (got {value!r:.80})"))

    container = typing.get_origin(hint)
    if container in (Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None:
            return None
        hint, container = options[0], typing.get_origin(options[0])
    if container is tuple:
        return _parse_list(value, typing.get_args(hint)[0], metadata, origin, path, faults)
    if container is dict or container is Mapping:
        if not isinstance(value, Mapping):
            return fault("must be a mapping")
        if metadata.get("collects") or metadata.get("nested"):
            return {str(key): item for key, item in value.items()}
        return _parse_texts(value, origin, path, faults)
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


def _parse_texts(
    values: Mapping[Any, Any], origin: str, path: str, faults: list[Fault]
) -> dict[str, str | Mapping[str, Any]]:
    """Parse a mapping of strings. Other types are refused, as Python would write `no` as `False`."""
    for key, item in values.items():
        if not isinstance(item, str | int | Mapping) or isinstance(item, bool):
            faults.append(Fault(origin=origin, path=f"{path}.{key}", message=f"{NO_TEXT} (got {item!r:.80})"))
    return {str(key): item if isinstance(item, Mapping) else str(item) for key, item in values.items()}


def _parse_list(value: Any, item: Any, metadata: Mapping[str, Any], origin: str, path: str, faults: list[Fault]) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence):
        faults.append(Fault(origin=origin, path=path, message=f"must be a list (got {value!r})"))
        return ()
    parsed = []
    for index, entry in enumerate(value):
        where = f"{path}[{index}]"
        if not dataclasses.is_dataclass(item):
            parsed.append(_parse(entry, item, metadata, origin, where, faults))
        elif isinstance(entry, Mapping):
            made = _build(typing.cast(type, item), [SettingsLayer(origin=origin, values=entry)], where + ".", faults)
            if made is not None:
                faults.extend(_own_faults(made, [SettingsLayer(origin=origin, values={})], where + "."))
                parsed.append(made)
        else:
            faults.append(Fault(origin=origin, path=where, message=f"must be a mapping (got {entry!r})"))
    return tuple(parsed)


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


def _own_faults(section: Any, layers: Sequence[SettingsLayer], prefix: str) -> Iterator[Fault]:
    """Yield the faults that a section's `faults` method and those of its nested sections find, innermost first."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _own_faults(value, layers, f"{prefix}{field.name}.")
    own = getattr(section, "faults", None)
    if own is None:
        return
    for path, message in own():
        full = f"{prefix}{path}"
        named = [layer.origins.get(full, layer.origin) for layer in layers if _holds(layer.values, full)]
        yield Fault(
            origin=named[-1] if named else layers[0].origin if layers else "configuration", path=full, message=message
        )


def _holds(values: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
