"""What runs functions, seen from above: specs of what is wanted, plain results of what is, and the Protocol between.

functions   a function
triggers    which events go where, and how they are delivered
sources     what turns images into events
relay       what is forwarded over the link
app         all of them together, as `eaves deploy` wants them
status      a function as it is
protocol    what every platform does
quantities  sizes as Kubernetes writes them

A spec here has what every platform needs. What one of them needs besides, an artifact's folder or a container image, is
added by its own classes (`eaves.local.specs`, `knative.specs`), so nothing in this package knows processes or clusters.
`eaves.local` and `knative` implement the Protocol and `tests/contract` runs over both.
"""

from eaves.platform.app import AppSpec
from eaves.platform.functions import FunctionSpec, ScaleSettings
from eaves.platform.protocol import Platform
from eaves.platform.quantities import QUANTITY_PATTERN
from eaves.platform.relay import RELAY, RelaySpec
from eaves.platform.sources import SourceSpec
from eaves.platform.status import (
    DeployedStatus,
    FunctionStatus,
    PartStatus,
    PinnedStatus,
    ServedStatus,
    parse_status,
)
from eaves.platform.triggers import (
    MAX_TIMEOUT_S,
    DeliverySettings,
    TriggerSpec,
    default_trigger,
    find_dead_letter_target,
    find_timeout_s,
)

__all__ = [
    "MAX_TIMEOUT_S",
    "QUANTITY_PATTERN",
    "RELAY",
    "AppSpec",
    "DeliverySettings",
    "DeployedStatus",
    "FunctionSpec",
    "FunctionStatus",
    "PartStatus",
    "PinnedStatus",
    "Platform",
    "RelaySpec",
    "ScaleSettings",
    "ServedStatus",
    "SourceSpec",
    "TriggerSpec",
    "default_trigger",
    "find_dead_letter_target",
    "find_timeout_s",
    "parse_status",
]
