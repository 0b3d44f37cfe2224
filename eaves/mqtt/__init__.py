"""Connections to MQTT brokers; the one importer of paho-mqtt.

address      text > where a broker is, mqtt:// or mqtts://
settings     what a connection needs beside the address
client       paho's client with a bound on the size of a packet, built for one connection
message      what is received and what is published, as values of our own
publications what was published and waits for the broker's acknowledgement
session      one connection from CONNECT to its end
refusals     a broker's reason codes > sentences with their fix
topics       which filters are valid, and which topics match
connection   connects again for as long as the process lives; publishes, acknowledges

Everything that a broker tells runs on the connection's own thread, which must never wait for anything else: only it
answers the broker's keepalive. Messages are acknowledged by who has stored them, from any thread.
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
