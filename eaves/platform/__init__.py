"""Platforms, which run functions: specs of the wanted state, statuses of the observed state, and the Platform Protocol.

triggers    which events go to which receiver, and how they are delivered
app         the specs of an app, which `eaves deploy` deploys: its function, its sources, its relay, which forwards
            events over the link, and which images it chooses for labelling
status      the observed state of a function
protocol    the Protocol that every platform implements
quantities  sizes in Kubernetes' notation

The specs are also the sections of eaves.yaml, with the settings of every platform. Each platform's own app
(`eaves.local.state`, `knative.settings`) adds the rest, such as an artifact's directory or a container image, so this
package knows neither processes nor clusters.
`eaves.local` and `knative` implement the Protocol and `tests/contract` tests both.
"""

from eaves.platform.app import RELAY, AppSpec, ChooseSpec, FunctionSpec, RelaySpec, ScaleSettings, SourceSpec
from eaves.platform.protocol import Platform
from eaves.platform.quantities import QUANTITY
from eaves.platform.status import DeployedStatus, FunctionStatus, PartStatus, PinnedStatus, ServedStatus
from eaves.platform.triggers import (
    MAX_TIMEOUT_S,
    DeliverySettings,
    MqttSection,
    TriggerSpec,
    default_trigger,
    find_dead_letter_target,
    find_timeout_s,
)

__all__ = [
    "MAX_TIMEOUT_S",
    "QUANTITY",
    "RELAY",
    "AppSpec",
    "ChooseSpec",
    "DeliverySettings",
    "DeployedStatus",
    "FunctionSpec",
    "FunctionStatus",
    "MqttSection",
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
]
