"""Parsing of each source's flat mapping, which holds the settings that every source has and those of the kind.

The agent's own id is kept beside its spool. A Knative SinkBinding sets extension attributes for every event.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eaves.base.files import write_atomically
from eaves.base.strict_json import parse_json
from eaves.config import build_flat
from eaves.errors import ConfigError, EventError, Fault, NotFoundError, SpoolError
from eaves.events import CONTEXT_ATTRIBUTES, IMAGE_CAPTURED, Event, decode, encode_binary
from eaves.sources.kind import AnyKind, load_kind
from eaves.sources.options import FrameOptions
from eaves.sources.settings import DEFAULT_KIND, AgentSettings, ClaimCheckSettings, SourceSettings
from eaves.spool.settings import ATTRIBUTES_BYTES

VARIABLE = "EAVES_SOURCES"
EXAMPLE = '[{"name": "inbox", "kind": "folder", "path": "/images"}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSource:
    """One source with valid settings.

    Attributes:
        common: Settings that every source has.
        options: Options that are applied to the source's frames, such as rate and crop.
        kind: Kind of the source.
        settings: Settings of the kind, an instance of `kind.settings`.
        claims: Settings that send large images to the cloud through a bucket.
    """

    common: SourceSettings
    options: FrameOptions
    kind: AnyKind
    settings: Any
    claims: ClaimCheckSettings = field(default_factory=ClaimCheckSettings)


def parse_sources(settings: AgentSettings) -> list[ConfiguredSource]:
    """Parse the sources in an agent's settings.

    Raises:
        ConfigError: When the text is not a list of mappings, or with every fault of every source.
    """
    origin = f"environment variable {VARIABLE}"
    try:
        listed = parse_json(settings.sources or "[]")
    except ValueError as error:
        raise ConfigError.single(origin, "sources", f"is not JSON: {error}") from error
    if not isinstance(listed, list) or not listed or not all(isinstance(values, dict) for values in listed):
        message = f"must be a JSON list of sources, for example {EXAMPLE}"
        raise ConfigError.single(origin, "sources", message)
    sources, faults = read_sources(listed, origin)
    needed = max((source.common.max_bytes for source in sources), default=0) + ATTRIBUTES_BYTES
    if settings.spool_max_bytes < needed:
        message = (
            f"must fit an image of max_bytes and its attributes: at least {needed} (got {settings.spool_max_bytes})"
        )
        faults.append(Fault(origin="settings", path="spool_max_bytes", message=message))
    if faults:
        raise ConfigError(faults)
    return sources


def read_sources(listed: Sequence[Mapping[str, Any]], origin: str) -> tuple[list[ConfiguredSource], list[Fault]]:
    """Read the settings of each source in a list of flat mappings; return the sources, and every fault.

    Args:
        listed: Mappings in the form of `sources` in eaves.yaml and of EAVES_SOURCES.
        origin: Origin of the mappings, for the faults.
    """
    sources: list[ConfiguredSource] = []
    faults: list[Fault] = []
    for number, values in enumerate(listed):
        source, found = read_source(values, origin, f"sources[{number}].")
        faults += found
        if source is not None:
            sources.append(source)
    names = [source.common.name for source in sources]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault(origin=origin, path="sources", message=f"names must be unique ({twice!r} occurs twice)"))
    return sources, faults


def read_source(
    values: Mapping[str, Any], origin: str, prefix: str, *, beside: Collection[str] = ()
) -> tuple[ConfiguredSource | None, list[Fault]]:
    """Read the settings of one source from a flat mapping.

    Returns:
        source: The source; None when its settings have faults.
        faults: Every fault.

    Args:
        values: Settings of the source.
        origin: Origin of the settings, for the faults.
        prefix: Path of the mapping with its trailing dot, for the faults.
        beside: Names of settings for clusters in the same mapping, which agents don't use; errors may suggest them.
    """
    name = values.get("kind", DEFAULT_KIND)
    try:
        kind = load_kind(str(name))
    except NotFoundError as error:
        return None, [Fault(origin=origin, path=f"{prefix}kind", message=error.message)]
    sections = [SourceSettings, FrameOptions, ClaimCheckSettings, kind.settings]
    (common, options, claims, settings), faults = build_flat(
        sections, values, origin=origin, prefix=prefix, beside=beside
    )
    if faults:
        return None, faults
    return ConfiguredSource(common=common, options=options, kind=kind, settings=settings, claims=claims), []


def count_remembered(sources: Sequence[ConfiguredSource]) -> int:
    """Return how many event ids the agent's spool must remember for these sources.

    The number is twice that of the ids that are needed at once. The ids of a folder are only marked as needed once a
    day, and other ids are added between two marks.
    """
    return 2 * sum(source.kind.remembers(source.settings) for source in sources)


_ID = re.compile(r"[0-9a-f]{8}")


def load_agent_id(spool: Path) -> str:
    """Read the agent's id from the file `SPOOL.id`; replace a missing or damaged id by a new one.

    Sites and sources may have the same names on several machines and in several apps. So names that must differ between
    agents, such as that of an MQTT session, contain this id.

    Args:
        spool: Path of the agent's spool; its folder exists.

    Raises:
        SpoolError: When the file can't be read or written.
    """
    path = spool.with_name(f"{spool.name}.id")
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else ""
        if _ID.fullmatch(known):
            return known
        created = secrets.token_hex(4)
        write_atomically(path, f"{created}\n")
    except OSError as error:
        raise SpoolError(f"the agent's id can't be stored in {path}: {error}") from error
    return created


OVERRIDES_VARIABLE = "K_CE_OVERRIDES"
_PROBE = Event(id="1", source="/eaves", type=IMAGE_CAPTURED)


def parse_overrides(text: str) -> dict[str, str]:
    """Parse the extension attributes in `K_CE_OVERRIDES`.

    Other attributes are refused: an override of `id`, `source` or `type` would give every image the same identity, and
    all but the first would count as repeated.

    Source: knative/eventing, SinkBinding, `spec.ceOverrides`: `{"extensions": {"name": "value"}}`.

    Args:
        text: Value of the variable; empty for no attributes.

    Raises:
        ConfigError: When the text is malformed or names something other than extension attributes.
    """
    if not text:
        return {}
    try:
        document = parse_json(text)
    except ValueError as error:
        raise _config_error(f"not JSON: {error}") from error
    extensions = document.get("extensions") or {} if isinstance(document, dict) else None
    if not isinstance(extensions, dict):
        raise _config_error('must be an object such as {"extensions": {"name": "value"}}')
    if own := sorted(CONTEXT_ATTRIBUTES & extensions.keys()):
        raise _config_error(f"{', '.join(map(repr, own))} is an attribute of the event itself and can't be overridden")
    try:
        if not all(isinstance(value, str) for value in extensions.values()):
            raise EventError("an extension must be a string")
        decode(*encode_binary(_PROBE.with_extensions(**extensions)))  # the same steps as for every event
    except EventError as error:
        raise _config_error(f"can't be added to an event: {error.message}") from error
    return extensions


def _config_error(message: str) -> ConfigError:
    return ConfigError.single(
        f"environment variable {OVERRIDES_VARIABLE}", "", message, hint="correct spec.ceOverrides of the SinkBinding"
    )
