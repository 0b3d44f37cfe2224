"""What one `eaves deploy` wants."""

from __future__ import annotations

from dataclasses import dataclass, field

from eaves.link.paths import FUNCTIONS
from eaves.platform.functions import FunctionSpec
from eaves.platform.relay import CLOUD, EDGE, RelaySpec
from eaves.platform.sources import SourceSpec
from eaves.platform.triggers import TriggerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What one `eaves deploy` wants on any platform; each platform takes an app of its own class, which adds to this.

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
