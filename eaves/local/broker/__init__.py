"""The embedded broker of the local platform: it filters events, queues them for subscribers and routes replies."""

from eaves.local.broker.broker import (
    REMOVED,
    SINK,
    Broker,
    DeadLetterSink,
    Send,
    Subscription,
    build_relay_trigger,
    lane_of,
)
from eaves.local.broker.context import read_trace

__all__ = [
    "REMOVED",
    "SINK",
    "Broker",
    "DeadLetterSink",
    "Send",
    "Subscription",
    "build_relay_trigger",
    "lane_of",
    "read_trace",
]
