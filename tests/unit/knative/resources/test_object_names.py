"""Names of Secrets and claims in eaves.yaml: a cluster refuses others, long after `eaves render`."""

from __future__ import annotations

from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.platform import SourceSpec, TriggerSpec
from knative.resources.agent import MAX_NAME, build_name


def build_source(**values: Any) -> SourceSpec:
    return build(SourceSpec, SettingsLayer(origin="eaves.yaml", values={"name": "gate", **values}))


def build_trigger(secret: str) -> TriggerSpec:
    values = {"name": "hub", "url": "mqtt://hub/a", "mqtt": {"secret": secret}}
    return build(TriggerSpec, SettingsLayer(origin="eaves.yaml", values=values))


@pytest.mark.parametrize("name", ["Broker_Login", "a..b", "a" * 254, "a\n"])
def test_what_no_object_may_be_called_is_a_fault(name: str) -> None:
    with pytest.raises(ConfigError, match=r"secret: must be a name that Kubernetes allows"):
        build_source(secret=name)
    with pytest.raises(ConfigError, match=r"claim: must be a name that Kubernetes allows"):
        build_source(claim=name)
    with pytest.raises(ConfigError, match=r"mqtt\.secret: must be a name that Kubernetes allows"):
        build_trigger(name)


@pytest.mark.parametrize("name", ["", "broker.login", "a" * 253])
def test_what_an_object_may_be_called_is_none(name: str) -> None:
    assert build_source(secret=name, claim=name).secret == name
    assert build_trigger(name).mqtt.secret == name


def test_names_beside_apps_of_other_namespaces_are_short_and_unlike_theirs() -> None:
    assert build_name("flowers", "cams", "camera") == "flowers-cams-camera"
    alike = [("a-b", "c", "d"), ("a", "b-c", "d"), ("a", "b", "c-d"), ("a-b", "c-d"), ("a", "b", "c", "d")]
    names = [build_name(*parts) for parts in alike]
    assert len(set(names)) == len(names)
    long = build_name("f" * 40, "n" * 63, "s" * 40)
    assert len(long) == MAX_NAME
    assert long != build_name("f" * 40, "n" * 63, "s" * 39)
