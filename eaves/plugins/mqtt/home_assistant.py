"""Messages for Home Assistant, which then shows each camera as a device with two sensors, label and confidence.

Where a model finds anomalies, the second sensor is their score, which has no limit.

No YAML is needed in Home Assistant. A retained discovery message describes each sensor; a retained state message has
the values of both:

    homeassistant/sensor/eaves_SITE_APP_CAMERA_label/config        discovery of the label
    homeassistant/sensor/eaves_SITE_APP_CAMERA_confidence/config   discovery of its score, in percent
    eaves/SITE/APP/CAMERA/state                                    {"label": "rose", "confidence": 97.1, ...}
    eaves/SITE/APP/availability                                    online or offline

The state has a topic of its own because a sensor's topic is fixed, while the trigger's topic may contain the label.

Source: home-assistant.io, MQTT (Discovery messages; Birth and last will messages) and MQTT Sensor (Configuration).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves import __version__
from eaves.base.clock import SYSTEM, Clock
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED, TENSOR_PREDICTED, Event, source_uri
from eaves.plugins.mqtt.encoding import NewestEvents, parse_object
from eaves.plugins.mqtt.message import Publication

ONLINE, OFFLINE = b"online", b"offline"
"""Payloads of the availability topic, and the default payloads of Home Assistant's own birth and will messages."""
MAX_CAMERAS = 1_000
"""Maximum number of cameras whose messages are remembered, about 3 KB each. The camera seen longest ago is forgotten
first, and is described again with its next prediction.
"""
MAX_STATE = 255
"""Maximum number of characters of a state. Source: homeassistant/const.py, MAX_LENGTH_STATE_STATE."""
MAX_SLUG = 48
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensors:
    """The messages of one camera.

    Attributes:
        discovery: Messages that describe the camera's sensors.
        state: Message with the sensors' values.
    """

    discovery: tuple[Publication, ...]
    state: Publication


class HomeAssistant:
    """The Home Assistant messages of one app's cameras. Not thread-safe; its caller holds a lock.

    Only predictions of the app's own function are shown, so that two apps that share a broker don't announce each
    other's cameras.

    Args:
        site: Name of the site.
        app: Name of the app, which is also its function's name.
        prefix: First part of the discovery topics.
        clock: Clock for monotonic time.
    """

    def __init__(self, *, site: str, app: str, prefix: str, clock: Clock = SYSTEM) -> None:
        self._site = site
        self._app = app
        self._prefix = prefix
        self._source = source_uri(site, app)
        self._latest = NewestEvents(clock)
        self._shown: OrderedDict[str, Sensors] = OrderedDict()

    @property
    def topics(self) -> str:
        """All topics that are published to, for display and for a broker's access list."""
        return f"{self._prefix}/sensor/+/config, eaves/{self._site}/{self._app}/#"

    def availability(self, payload: bytes) -> Publication:
        """Return the availability message; its payload `ONLINE` or `OFFLINE` says whether the sensors are updated."""
        return Publication(topic=f"eaves/{self._site}/{self._app}/availability", payload=payload, retain=True)

    def update(self, event: Event) -> list[Publication]:
        """Return the messages to publish for an event.

        There are none when the event is not a prediction of the app, or is older than what is shown. The sensors are
        described again only when their description changes, for example with the model's version.
        """
        if event.type not in (IMAGE_CLASSIFIED, IMAGE_INSPECTED, TENSOR_PREDICTED) or event.source != self._source:
            return []
        camera = self._camera(event)
        if not self._latest.accept(camera, event):
            return []
        shown, made = self._shown.get(camera), self._build(camera, event)
        self._shown[camera] = made
        self._shown.move_to_end(camera)
        if len(self._shown) > MAX_CAMERAS:
            self._shown.popitem(last=False)
        fresh = () if shown is not None and shown.discovery == made.discovery else made.discovery
        return [*fresh, made.state]

    def forget(self, event: Event) -> None:
        """Record that the messages of an event's camera were not delivered.

        The next messages then describe the camera's sensors again.
        """
        self._shown.pop(self._camera(event), None)

    def all_messages(self) -> list[Publication]:
        """Return all messages of all known cameras, for a broker that has restarted."""
        return [message for one in self._shown.values() for message in (*one.discovery, one.state)]

    def _camera(self, event: Event) -> str:
        return event.extensions.get("partitionkey") or self._app

    def _build(self, camera: str, event: Event) -> Sensors:
        slug = slugify(camera)
        state_topic = f"eaves/{self._site}/{self._app}/{slug}/state"
        identity = f"eaves_{self._site}_{self._app}_{slug}"
        shared: dict[str, Any] = {
            "state_topic": state_topic,
            "availability": [{"topic": self.availability(ONLINE).topic}],
            "qos": 1,
            "device": _device(identity, f"{self._app} {_printable(camera)}", event),
            "origin": {"name": "eaves", "sw_version": __version__},
        }
        label = {
            "name": "Label",
            "value_template": "{{ value_json.label }}",
            "icon": "mdi:tag",
            "json_attributes_topic": state_topic,
        }
        confidence = {
            "name": "Confidence",
            "value_template": "{{ value_json.confidence }}",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 1,
        }
        if event.type == IMAGE_INSPECTED:
            score = {"name": "Score", "value_template": "{{ value_json.score }}", "icon": "mdi:gauge"}
            confidence = {**score, "state_class": "measurement"}
        return Sensors(
            discovery=(
                self._discovery(f"{identity}_label", {**shared, **label}),
                self._discovery(f"{identity}_confidence", {**shared, **confidence}),
            ),
            state=Publication(
                topic=state_topic, payload=json.dumps(build_state(event), allow_nan=False).encode(), retain=True
            ),
        )

    def _discovery(self, unique_id: str, config: Mapping[str, Any]) -> Publication:
        payload = json.dumps({"unique_id": unique_id, **config}, sort_keys=True).encode()
        return Publication(topic=f"{self._prefix}/sensor/{unique_id}/config", payload=payload, retain=True)


def build_state(event: Event) -> dict[str, Any]:
    """Return the sensors' values for a prediction.

    Home Assistant shows a null as unknown, for example when no score reaches the function's threshold.
    """
    data = parse_object(event) or {}
    predictions = data.get("predictions")
    best = predictions[0] if isinstance(predictions, list) and predictions and isinstance(predictions[0], dict) else {}
    label = event.extensions.get("label", best.get("label"))
    score = best.get("score")
    return {
        "label": label[:MAX_STATE] if isinstance(label, str) else None,
        "confidence": _finite(score, factor=100, digits=1),
        "certainty": event.extensions.get("confidence"),
        "subject": event.subject,
        "time": event.time,
        "model": event.extensions.get("model"),
        "version": event.extensions.get("modelversion"),
        "id": event.id,
        **{name: _finite(data.get(name)) for name in ("score", "p_value") if event.type == IMAGE_INSPECTED},
    }


def _finite(value: object, *, factor: int = 1, digits: int = 6) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = factor * float(value)
    except OverflowError:
        return None
    return round(number, digits) if math.isfinite(number) else None


def slugify(camera: str) -> str:
    """Return a camera's name for topics and ids, made of letters, digits, `_` and `-`.

    Different names give different results.
    Source: home-assistant.io, MQTT, Discovery topic: the object id has only characters of [a-zA-Z0-9_-].
    """
    slug = _UNSAFE.sub("_", camera)[:MAX_SLUG]
    if slug == camera:
        return slug
    return f"{slug}-{hashlib.sha256(camera.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _device(identity: str, name: str, event: Event) -> dict[str, Any]:
    known = {"model": event.extensions.get("model"), "sw_version": event.extensions.get("modelversion")}
    described = {key: _printable(value) for key, value in known.items() if value}
    return {"identifiers": [identity], "name": name, "manufacturer": "Eaves", **described}


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "_" for char in text)[:64]
