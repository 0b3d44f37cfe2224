"""Triggers that publish to MQTT: their settings in eaves.yaml, and the errors of settings that can't be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.local.state import LocalApp, LocalFunction, parse_app
from eaves.platform import TriggerSpec

T = TypeVar("T")


def parse(**values: Any) -> TriggerSpec:
    return parse_as(TriggerSpec, **values)


def parse_as(cls: type[T], **values: Any) -> T:
    return build(cls, SettingsLayer(origin="eaves.yaml", values={"name": "out", **values}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "mqtt://hub"}, "url: topic is empty"),
        ({"url": "mqtt:///a"}, "url: must be mqtt://HOST[:PORT]"),
        ({"url": "mqtt://hub:99999/a"}, "url: must be mqtt://HOST[:PORT]"),
        ({"url": "mqtt://hub/a/#"}, "url: must not contain ? or #"),
        ({"url": "mqtt://hub/a?b=c"}, "url: must not contain ? or #"),
        ({"url": "mqtt://hub/{Label}"}, "url: topic {Label} is not the name of an event attribute"),
        ({"url": "tcp://hub/a"}, "url: must begin with http://, https://, mqtt:// or mqtts://"),
        ({"url": "http://hub/a", "mqtt": {"retain": True}}, "mqtt: needs a url that begins with mqtt://"),
        ({"url": "mqtt://hub/a", "function": "x"}, "url: can't be set together with function"),
        ({"url": "mqtt://hub/a", "mqtt": {"retian": True}}, "mqtt.retian: unknown setting; did you mean retain?"),
        ({"url": "mqtt://hub/a", "mqtt": {"discovery_prefix": "a/#"}}, "mqtt.discovery_prefix: contains '#'"),
        ({"url": "mqtt://hub/a", "mqtt": {"spool_size": "much"}}, "mqtt.spool_size: must be a quantity"),
    ],
)
def test_what_cannot_be_used_is_reported_with_its_path(values: dict[str, Any], message: str) -> None:
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
def test_a_password_in_a_wrong_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url=url)
    assert "geheim" not in caught.value.message


def test_a_spec_file_keeps_all_of_it() -> None:
    mqtt = {"retain": True, "credentials": "keys", "format": "json"}
    trigger = parse_as(TriggerSpec, url="mqtts://hub/a", mqtt=mqtt)
    function = LocalFunction(name="f", site="s", artifact=Path("a"))

    read = parse_app(LocalApp(function=function, triggers=(trigger,)).to_dict(), "spec")

    assert read.triggers == (trigger,)
    assert read.triggers[0].mqtt.credentials == Path("keys")
