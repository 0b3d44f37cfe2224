"""Home Assistant's documented discovery payload of an MQTT sensor, as a JSON schema.

Source: home-assistant.io, integrations/sensor.mqtt (Configuration variables), integrations/mqtt (Discovery payload;
Adding information about the origin of a discovery message), integrations/sensor (State classes); compared key by key
with homeassistant 2026.2.3, components/mqtt/schemas.py, sensor.py and discovery.py (TOPIC_MATCHER). Home Assistant
ignores keys that it doesn't know; here they are faults, as a misspelt key would be ignored too.
"""

import re
from typing import Any

_TEXT = {"type": "string"}
_TOPIC = {"type": "string", "minLength": 1, "pattern": r"^[^+#\u0000]+$"}
_AVAILABILITY = {
    "type": "object",
    "properties": {
        "payload_available": _TEXT,
        "payload_not_available": _TEXT,
        "topic": _TOPIC,
        "value_template": _TEXT,
    },
    "required": ["topic"],
    "additionalProperties": False,
}
_DEVICE = {
    "type": "object",
    "properties": {
        "configuration_url": _TEXT,
        "connections": {"type": "array", "items": {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}},
        "hw_version": _TEXT,
        "identifiers": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
        "manufacturer": _TEXT,
        "model": _TEXT,
        "model_id": _TEXT,
        "name": _TEXT,
        "serial_number": _TEXT,
        "suggested_area": _TEXT,
        "sw_version": _TEXT,
        "via_device": _TEXT,
    },
    "anyOf": [{"required": ["identifiers"]}, {"required": ["connections"]}],
    "additionalProperties": False,
}
_ORIGIN = {
    "type": "object",
    "properties": {"name": _TEXT, "sw_version": _TEXT, "support_url": _TEXT},
    "required": ["name"],
    "additionalProperties": False,
}
SENSOR: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "availability": {"type": "array", "items": _AVAILABILITY},
        "availability_mode": {"enum": ["all", "any", "latest"]},
        "availability_template": _TEXT,
        "availability_topic": _TOPIC,
        "default_entity_id": _TEXT,
        "device": _DEVICE,
        "device_class": {"type": ["string", "null"]},
        "enabled_by_default": {"type": "boolean"},
        "encoding": _TEXT,
        "entity_category": {"type": ["string", "null"]},
        "entity_picture": _TEXT,
        "expire_after": {"type": "integer", "minimum": 0},
        "force_update": {"type": "boolean"},
        "icon": {"type": "string", "pattern": "^[a-z]+:[a-z0-9-]+$"},
        "json_attributes_template": _TEXT,
        "json_attributes_topic": _TOPIC,
        "last_reset_value_template": _TEXT,
        "name": {"type": ["string", "null"]},
        "options": {"type": "array", "items": _TEXT},
        "origin": _ORIGIN,
        "payload_available": _TEXT,
        "payload_not_available": _TEXT,
        "platform": {"const": "sensor"},
        "qos": {"enum": [0, 1, 2]},
        "state_class": {"enum": ["measurement", "measurement_angle", "total", "total_increasing", None]},
        "state_topic": _TOPIC,
        "suggested_display_precision": {"type": "integer", "minimum": 0},
        "unique_id": _TEXT,
        "unit_of_measurement": {"type": ["string", "null"]},
        "value_template": _TEXT,
    },
    "required": ["state_topic"],
    "dependentRequired": {"device": ["unique_id"], "availability_mode": ["availability"]},
    "not": {"required": ["availability", "availability_topic"]},
    "additionalProperties": False,
}
DISCOVERY_TOPIC = re.compile(r"homeassistant/sensor/[a-zA-Z0-9_-]+/config")
"""Source: integrations/mqtt, Discovery topic: PREFIX/COMPONENT/[NODE_ID/]OBJECT_ID/config."""
