"""Delivering what a spool holds: the status table, the HTTP client and the threads that do it.

At least once: an entry is released in the commit that stores what came of it, so a crash between the answer and that
commit sends the event again. Receivers recognise it by source and id. Nothing here decides where an event goes: that is
in the lanes it was put on.
"""

from eaves.delivery.attempts import AttemptResult
from eaves.delivery.client import HttpAnswer, SinkClient
from eaves.delivery.deliverer import Deliverer, DeliveryAttempt, DeliveryOutcome
from eaves.delivery.response_rules import DeliveryAction, SinkResponse, choose_action
from eaves.delivery.status import LaneDelivery

__all__ = [
    "AttemptResult",
    "Deliverer",
    "DeliveryAction",
    "DeliveryAttempt",
    "DeliveryOutcome",
    "HttpAnswer",
    "LaneDelivery",
    "SinkClient",
    "SinkResponse",
    "choose_action",
]
