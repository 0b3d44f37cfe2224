"""Connections to MQTT brokers; the only package that imports paho-mqtt.

message      received and published messages, a connection and its settings, the address of a broker, topic filters
connection   paho's client; reconnects for as long as the process lives; publishes
             and acknowledges; explains a broker's reason codes with their fix

All callbacks run on the connection's own thread, which must never wait for anything else, because only that thread
answers the broker's keepalive. A message is acknowledged by the thread that has stored it, which may be any thread.
"""

from eaves.mqtt.connection import BrokerConnection, ConnectionListener
from eaves.mqtt.message import (
    Acknowledgement,
    BrokerAddress,
    ConnectionSettings,
    Message,
    Publication,
    SessionInfo,
    parse_address,
)

__all__ = [
    "Acknowledgement",
    "BrokerAddress",
    "BrokerConnection",
    "ConnectionListener",
    "ConnectionSettings",
    "Message",
    "Publication",
    "SessionInfo",
    "parse_address",
]
