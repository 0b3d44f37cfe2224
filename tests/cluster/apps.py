"""Apps as eaves.yaml could ask for them, for tests of what becomes of them in a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eaves.platform import DeliverySettings, ScaleSettings
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import (
    ClusterApp,
    ClusterFunction,
    ClusterMqttSettings,
    ClusterRelay,
    ClusterSource,
    ClusterTrigger,
    build_default_trigger,
)

IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
AGENT_IMAGE = "registry.example/barn/agent@sha256:" + "c" * 64
S3_IMAGE = "registry.example/barn/agent-s3@sha256:" + "b" * 64
CAMERA_IMAGE = "registry.example/barn/agent-camera@sha256:" + "d" * 64
NAME = "flowers"


def plain_app(**changes: object) -> ClusterApp:
    """A function that captured images reach, and nothing else."""
    function = ClusterFunction(name=NAME, site="barn", artifact_digest="a" * 64, image=IMAGE)
    changed: ClusterFunction = replace(function, **changes)  # type: ignore[arg-type]
    return ClusterApp(function=changed, triggers=(build_default_trigger(function),))


def full_app() -> ClusterApp:
    """One of everything."""
    alarm = ClusterTrigger(
        name="alarm",
        filter={"type": "dev.eaves.image.classified.v1", "confidence": "high"},
        url="http://alarm.barn.svc.cluster.local/",
        delivery=DeliverySettings(retry=3, dead_letter_sink="http://dead.barn.svc.cluster.local/"),
    )
    gate = ClusterTrigger(
        name="gate",
        filter={"type": "dev.eaves.image.classified.v1"},
        url="mqtts://broker.barn.lan/gate/{label}",
        mqtt=ClusterMqttSettings(retain=True, home_assistant=True, secret="broker-login", spool_size="100Mi"),
    )
    sources = (
        ClusterSource(name="inbox", claim="photos"),
        ClusterSource(name="camera", agent="node", options={"path": "/data/camera", "polling": True}),
        ClusterSource(name="archive", agent="reader", claim="archive"),
    )
    plain = plain_app(
        scale=ScaleSettings(max=3, idle_s=90),
        concurrency=2,
        env={"EAVES_DATAREF_HOSTS": "store.example,*.store.example:8443", "EAVES_DATAREF_NETWORKS": "10.1.0.0/16"},
    )
    return replace(plain, triggers=(*plain.triggers, alarm, gate), sources=sources)


RECEIVER = "https://receiver.cloud.example"


def relayed_app(**relay: object) -> ClusterApp:
    """A function with sources of every kind of agent, and a relay."""
    sources = (
        ClusterSource(name="inbox", claim="photos"),
        ClusterSource(name="camera", agent="node", options={"path": "/data/camera"}),
        ClusterSource(name="shared", claim="shared", through="broker"),
    )
    values: dict[str, Any] = {
        "to": RECEIVER,
        "secret": "link",
        "images": "all",
        "alarms": ({"label": "fire"},),
        **relay,
    }
    return replace(plain_app(), sources=sources, relay=ClusterRelay(**values))


def watching_app() -> ClusterApp:
    """A function with cameras: one that is reached over the network, and a device and a recording of each node."""
    stream = {"url": "rtsps://gate.barn.lan/stream1", "every_s": 1}
    sources = (
        ClusterSource(name="gate", kind="camera", options=stream, secret="gate-login"),
        ClusterSource(
            name="belt", kind="camera", options={"url": "/dev/video0"}, pod={"nodeSelector": {"camera": "usb"}}
        ),
        ClusterSource(
            name="line",
            kind="camera",
            options={"url": "/dev/video1"},
            pod={"resources": {"limits": {"squat.ai/video": "1"}}},
            spool_size="1Gi",
        ),
        ClusterSource(name="night", kind="camera", options={"url": "/data/night.mjpeg"}),
    )
    return replace(plain_app(), sources=sources)


def plain_site(**changes: object) -> SiteSettings:
    """A site whose namespace is named; `selector` are the labels of its nodes."""
    if "selector" in changes:
        changes["pod"] = {"nodeSelector": changes.pop("selector")}
    return replace(SiteSettings(name="barn", context="barn", namespace="eaves"), **changes)  # type: ignore[arg-type]


def full_settings(**changes: object) -> KnativeSettings:
    """Settings for every kind of object."""
    made = KnativeSettings(
        agent_image=AGENT_IMAGE,
        agent_camera_image=CAMERA_IMAGE,
        agent_s3_image=S3_IMAGE,
        pod={"imagePullSecrets": [{"name": "registry-login"}]},
    )
    return replace(made, **changes)  # type: ignore[arg-type]
