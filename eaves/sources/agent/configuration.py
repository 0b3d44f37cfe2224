"""The settings of sources: what all of them have, and what the kind of each adds, in one flat mapping each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.config import build_flat
from eaves.errors import ConfigError, Fault, NotFoundError
from eaves.sources.agent.kinds import load_kind
from eaves.sources.kind import AnyKind
from eaves.sources.options import FrameOptions
from eaves.sources.settings import ATTRIBUTES_BYTES, DEFAULT_KIND, AgentSettings, SourceSettings

VARIABLE = "EAVES_SOURCES"
EXAMPLE = '[{"name": "inbox", "kind": "folder", "path": "/images"}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSource:
    """One source with valid settings.

    Attributes:
        common: What every source has.
        options: What is done to its frames.
        kind: Its kind.
        settings: What the kind adds, an instance of `kind.settings`.
    """

    common: SourceSettings
    options: FrameOptions
    kind: AnyKind
    settings: Any


def parse_sources(settings: AgentSettings) -> list[ConfiguredSource]:
    """The sources that an agent is told to run.

    Raises:
        ConfigError: When the text is no list of mappings, or with every fault of every source.
    """
    origin = f"environment variable {VARIABLE}"
    try:
        listed = parse_json(settings.sources or "[]")
    except ValueError as error:
        raise ConfigError([Fault(origin=origin, path="sources", message=f"is not JSON: {error}")]) from error
    if not isinstance(listed, list) or not listed or not all(isinstance(values, dict) for values in listed):
        message = f"must be a JSON list of sources, for instance {EXAMPLE}"
        raise ConfigError([Fault(origin=origin, path="sources", message=message)])
    sources, faults = read_sources(listed, origin)
    faults += _find_room_faults(settings, sources)
    if faults:
        raise ConfigError(faults)
    return sources


def read_sources(
    listed: Sequence[Mapping[str, Any]], origin: str, *, beside: Collection[str] = ()
) -> tuple[list[ConfiguredSource], list[Fault]]:
    """The sources in a list of flat mappings, and every fault.

    Args:
        listed: The mappings, as `sources` in eaves.yaml and EAVES_SOURCES hold them.
        origin: Where they are from, for the faults.
        beside: As of `read_source`.
    """
    sources: list[ConfiguredSource] = []
    faults: list[Fault] = []
    for number, values in enumerate(listed):
        source, found = read_source(values, origin, f"sources[{number}].", beside=beside)
        faults += found
        if source is not None:
            sources.append(source)
    names = [source.common.name for source in sources]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault(origin=origin, path="sources", message=f"two of them are named {twice!r}"))
    return sources, faults


def read_source(
    values: Mapping[str, Any], origin: str, prefix: str, *, beside: Collection[str] = ()
) -> tuple[ConfiguredSource | None, list[Fault]]:
    """The source in one flat mapping, None when it has faults, and every fault.

    Args:
        values: The settings.
        origin: Where they are from, for the faults.
        prefix: Path of the mapping with its trailing dot, for the faults.
        beside: Settings of eaves.yaml that stand in the same mapping and that no agent is told, for "did you mean".
    """
    name = values.get("kind", DEFAULT_KIND)
    try:
        kind = load_kind(str(name))
    except NotFoundError as error:
        return None, [Fault(origin=origin, path=f"{prefix}kind", message=error.message)]
    sections = [SourceSettings, FrameOptions, kind.settings]
    (common, options, settings), faults = build_flat(sections, values, origin=origin, prefix=prefix, beside=beside)
    if faults:
        return None, faults
    return ConfiguredSource(common=common, options=options, kind=kind, settings=settings), []


def count_remembered(sources: Sequence[ConfiguredSource]) -> int:
    """Event ids that the spool of these sources must remember.

    Twice as many as are needed at once, as those of a folder are marked as needed only now and then, and between two
    marks others are added.
    """
    return 2 * sum(source.kind.remembers(source.settings) for source in sources)


def _find_room_faults(settings: AgentSettings, sources: Sequence[ConfiguredSource]) -> Iterator[Fault]:
    largest = max((source.common.max_bytes for source in sources), default=0)
    needed = largest + ATTRIBUTES_BYTES
    if settings.spool_max_bytes < needed:
        message = (
            f"must hold an image of max_bytes and its attributes: {needed} at least (got {settings.spool_max_bytes})"
        )
        yield Fault(origin="settings", path="spool_max_bytes", message=message)
