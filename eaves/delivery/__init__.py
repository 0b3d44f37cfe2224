"""Delivery of a spool's entries: the response rules, the HTTP client and the threads that send.

Delivery is at least once: an entry is acknowledged in the commit that stores the events that result from its delivery,
so a crash between the response and that commit sends the event again. Receivers recognise the repeated event by its
source and id. The lanes that an event was put in decide where it is delivered.
"""

from eaves.delivery.deliverer import Deliverer, DeliveryOutcome
from eaves.delivery.response_rules import DeliveryAction, SinkResponse, choose_action
from eaves.delivery.sender import AttemptResult, EventSender, Sender, SinkClient, read_reply
from eaves.delivery.sink_state import LaneDelivery, SinkView

__all__ = [
    "AttemptResult",
    "Deliverer",
    "DeliveryAction",
    "DeliveryOutcome",
    "EventSender",
    "LaneDelivery",
    "Sender",
    "SinkClient",
    "SinkResponse",
    "SinkView",
    "choose_action",
    "read_reply",
]
