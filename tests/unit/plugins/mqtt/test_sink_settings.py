"""Settings of MQTT sources and triggers, and addresses of brokers."""

import re
from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.platform import TriggerSpec
from eaves.plugins.mqtt.kind import KIND, MqttSourceSettings
from eaves.plugins.mqtt.message import BrokerAddress, parse_address


def parse(**values: Any) -> TriggerSpec:
    return build(TriggerSpec, SettingsLayer(origin="eaves.yaml", values={"name": "out", **values}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "mqtt://hub"}, "url: topic is empty"),
        ({"url": "mqtt:///a"}, "url: must be mqtt://HOST[:PORT]"),
        ({"url": "mqtt://hub:99999/a"}, "url: must be mqtt://HOST[:PORT]"),
        ({"url": "mqtt://hub/a/#"}, "url: must not contain ? or #"),
        ({"url": "mqtt://hub/a?b=c"}, "url: must not contain ? or #"),
        ({"url": "mqtt://hub/{Label}"}, "url: topic {Label} is not the name of an event attribute"),
        ({"url": "tcp://hub/a"}, "url: must begin with http://, https://, dataset://, mqtt:// or mqtts://"),
        ({"url": "http://hub/a", "mqtt": {"retain": True}}, "mqtt: needs a url that begins with mqtt://"),
        ({"url": "mqtt://hub/a", "function": "x"}, "url: can't be set together with function"),
        ({"url": "mqtt://hub/a", "mqtt": {"retian": True}}, "mqtt.retian: unknown setting; did you mean retain?"),
        ({"url": "mqtt://hub/a", "mqtt": {"discovery_prefix": "a/#"}}, "mqtt.discovery_prefix: contains '#'"),
        ({"url": "mqtt://hub/a", "mqtt": {"spool_size": "much"}}, "mqtt.spool_size: must be a quantity"),
    ],
)
def test_what_cannot_be_used_is_reported_with_its_path(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=re.escape(f"eaves.yaml: {message}")):
        parse(**values)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://user:geheim@hub/a/#",
        "mqtt://user:geheim/1@hub/a",
        "mqtt://user:geheim#1@hub/a",
        "mqtt://user:[geheim@hub/a",
        "mqtt:///geheim@hub/a",
    ],
)
def test_a_password_in_a_wrong_url_is_not_shown(url: str):
    with pytest.raises(ConfigError) as caught:
        parse(url=url)
    assert "geheim" not in caught.value.message


def read(**values: Any) -> MqttSourceSettings:
    return build(
        MqttSourceSettings, SettingsLayer(origin="eaves.yaml", values={"url": "mqtt://h", "topics": ["a/#"], **values})
    )


def test_the_least():
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
def test_faults(values: dict[str, Any], fault: str):
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert f"eaves.yaml: {fault}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mqtt://broker", BrokerAddress(host="broker", port=1883)),
        ("mqtts://broker", BrokerAddress(host="broker", port=8883, tls=True)),
        ("mqtt://hub//a/", BrokerAddress(host="hub", port=1883, path="/a/")),
        ("mqtt://[::1]:1884/a/b", BrokerAddress(host="::1", port=1884, path="a/b")),
        ("mqtt://h/eaves/{label}/a%23b", BrokerAddress(host="h", port=1883, path="eaves/{label}/a#b")),
        ("mqtt://u%40x:p%3Aw@h", BrokerAddress(host="h", port=1883, username="u@x", password="p:w")),
    ],
)
def test_what_is_an_address(text: str, address: BrokerAddress):
    assert parse_address(text) == address


def test_a_password_is_not_shown():
    address = parse_address("mqtt://user:hunter2@h")
    assert "hunter2" not in repr(address)
    assert address.endpoint == "h:1883"
    with pytest.raises(ValueError, match="must") as caught:
        parse_address("mqtt://user:hunter2@h:99999")
    assert "hunter2" not in str(caught.value)
