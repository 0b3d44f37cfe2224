"""What one `eaves deploy` wants, to and from the plain data of a spec file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.link.paths import FUNCTIONS
from eaves.platform.functions import FunctionSpec
from eaves.platform.relay import CLOUD, EDGE, RelaySpec
from eaves.platform.sources import SourceSpec
from eaves.platform.triggers import TriggerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What one `eaves deploy` wants.

    Attributes:
        function: The function.
        triggers: What feeds it, and what its events are sent to.
        sources: What feeds those.
        relay: What forwards its predictions over the link.
        through: Where images are predicted: `edge`, by the function here; `cloud`, by one behind the receiver.
    """

    function: FunctionSpec
    triggers: tuple[TriggerSpec, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    relay: RelaySpec = field(default_factory=RelaySpec)
    through: str = EDGE

    @property
    def cloud_function(self) -> str:
        """Address of the function in the cloud that its agents ask; empty: they ask the one here."""
        return f"{self.relay.to.rstrip('/')}{FUNCTIONS}{self.function.name}" if self.through == CLOUD else ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a file."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def parse_app(values: Mapping[str, Any], origin: str) -> AppSpec:
    """Read a spec file's content.

    Raises:
        ConfigError: With every fault.
    """
    return build(AppSpec, SettingsLayer(origin=origin, values=values))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
