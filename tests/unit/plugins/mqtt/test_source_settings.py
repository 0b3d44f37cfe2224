"""What eaves.yaml may say of an MQTT source."""

from __future__ import annotations

from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.plugins.mqtt.kind import KIND, MqttSourceSettings


def read(**values: Any) -> MqttSourceSettings:
    return build(
        MqttSourceSettings, SettingsLayer(origin="eaves.yaml", values={"url": "mqtt://h", "topics": ["a/#"], **values})
    )


def test_the_least() -> None:
    settings = read()
    assert (settings.topics, settings.client_id, settings.version) == (("a/#",), "", "auto")
    assert list(KIND.addresses(settings)) == ["h:1883"]
    assert list(KIND.addresses(read(url="mqtts://u:p@h"))) == ["tls://h:8883"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"url": "http://h"}, "url: must be an address that begins with mqtt://"),
        ({"url": "mqtt://h/a/b"}, "url: must have no path"),
        ({"topics": []}, "topics: must contain at least one topic"),
        ({"topics": ["ok", "a/#/b"]}, "topics[1]: must have # only as its whole last level"),
        ({"image_at": "a.b"}, "image_at: must begin with /"),
        ({"id_at": "/id"}, "id_at: needs image_at"),
        ({"version": "3.1.1", "id_property": "id"}, "id_property: can't be set with version 3.1.1"),
    ],
)
def test_faults(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert f"eaves.yaml: {fault}" in str(caught.value)


def test_a_fault_never_quotes_a_password() -> None:
    with pytest.raises(ConfigError) as caught:
        read(url="mqtt://u:hunter2@h/a")
    assert "hunter2" not in str(caught.value)
