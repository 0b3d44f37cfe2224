"""Connections to MQTT brokers; the only package that imports paho-mqtt.

address      parses the address of a broker, mqtt:// or mqtts://
settings     settings of a connection
client       paho's client with a limit on the size of a packet, built for one connection
message      types of received and published messages, independent of paho-mqtt
publications messages that were published and wait for the broker's acknowledgement
session      one connection from CONNECT to its end
refusals     explains a broker's reason codes in sentences with their fix
topics       validates topic filters and matches topics
connection   reconnects for as long as the process lives; publishes and acknowledges

All callbacks run on the connection's own thread, which must never wait for anything else, because only that thread
answers the broker's keepalive. A message is acknowledged by the thread that has stored it, which may be any thread.
"""

from eaves.mqtt.address import BrokerAddress, parse_address
from eaves.mqtt.connection import BrokerConnection, ConnectionListener
from eaves.mqtt.message import Acknowledgement, Message, Publication
from eaves.mqtt.session import SessionInfo
from eaves.mqtt.settings import ConnectionSettings

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
