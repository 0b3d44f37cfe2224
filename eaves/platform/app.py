"""The spec of an app, which one `eaves deploy` deploys."""

from __future__ import annotations

from dataclasses import dataclass, field

from eaves.link.paths import FUNCTIONS
from eaves.platform.functions import FunctionSpec
from eaves.platform.relay import CLOUD, EDGE, RelaySpec
from eaves.platform.sources import SourceSpec
from eaves.platform.triggers import TriggerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """An app that one `eaves deploy` deploys on any platform; each platform has a subclass that adds to it.

    Attributes:
        function: Spec of the function.
        triggers: Specs of the triggers, which route events to the function and its predictions to receivers.
        sources: Specs of the sources.
        relay: Spec of the relay, which forwards the predictions over the link.
        through: Location of the function that predicts images: `edge`, the function here; `cloud`, one behind the
            receiver.
    """

    function: FunctionSpec
    triggers: tuple[TriggerSpec, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    relay: RelaySpec = field(default_factory=RelaySpec)
    through: str = EDGE

    @property
    def cloud_function(self) -> str:
        """Address of the cloud function that agents send images to; empty when they use the local function."""
        return f"{self.relay.to.rstrip('/')}{FUNCTIONS}{self.function.name}" if self.through == CLOUD else ""
