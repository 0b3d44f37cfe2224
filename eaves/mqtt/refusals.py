"""Explanations of a broker's reason codes and of network errors, as sentences with their fix."""

from __future__ import annotations

import ssl

from paho.mqtt.reasoncodes import ReasonCode

from eaves.errors import ConfigError
from eaves.mqtt.settings import ConnectionSettings

UNSUPPORTED_VERSION = 0x84
BAD_CREDENTIALS, NOT_AUTHORIZED = 0x86, 0x87
SHUTTING_DOWN = 0x8B
TAKEN_OVER = 0x8E
"""Reason codes of MQTT 5 that `describe_refusal` explains. paho translates the return codes of MQTT 3.1.1's CONNACK to
reason codes.
Source: MQTT 5.0, section 2.4, Reason Code."""


def describe_refusal(code: ReasonCode, settings: ConnectionSettings) -> str:
    """Return why a broker ended or refused a connection."""
    broker = f"the broker {settings.address.endpoint}"
    if code.value in (BAD_CREDENTIALS, NOT_AUTHORIZED):
        place = f"the files username and password in {settings.credentials}" if settings.credentials else "credentials"
        return f"{broker} refuses the user ({str(code).lower()}); check {place}"
    if code.value == TAKEN_OVER:
        return (
            f"{broker} has given the session to another client named {settings.client_id!r}; set another client_id in "
            "one of the two"
        )
    return f"{broker} ended the connection: {str(code).lower()}"


def describe_error(error: Exception, settings: ConnectionSettings) -> str:
    """Return why a connection failed, from the error that was raised."""
    if isinstance(error, ConfigError):
        return str(error)
    broker = f"the broker {settings.address.endpoint}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {broker} isn't trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {broker} failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return f"{broker} doesn't answer"
    if isinstance(error, OSError):
        return f"can't connect to {broker}: {error.strerror or error}"
    return f"the connection to {broker} failed: {type(error).__name__}"
