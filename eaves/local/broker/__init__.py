"""The embedded broker of the local platform: it filters events, queues them for subscribers and routes replies."""

from eaves.local.broker.broker import REMOVED, Broker, Send, Subscription, build_relay_trigger, lane_of
from eaves.local.broker.context import read_trace
from eaves.local.broker.dead_letters import DeadLetterSink, lane_of_sink

__all__ = [
    "REMOVED",
    "Broker",
    "DeadLetterSink",
    "Send",
    "Subscription",
    "build_relay_trigger",
    "lane_of",
    "lane_of_sink",
    "read_trace",
]
