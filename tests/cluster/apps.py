"""Apps as eaves.yaml could ask for them, for tests of what becomes of them in a cluster."""

from dataclasses import replace
from typing import Any

from eaves.platform import (
    DeliverySettings,
    FunctionSpec,
    MqttSection,
    RelaySpec,
    ScaleSettings,
    SourceSpec,
    TriggerSpec,
    default_trigger,
)
from knative.settings import ClusterApp, KnativeSettings, SiteSettings

IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
AGENT_IMAGE = "registry.example/barn/agent@sha256:" + "c" * 64
S3_IMAGE = "registry.example/barn/agent-s3@sha256:" + "b" * 64
CAMERA_IMAGE = "registry.example/barn/agent-camera@sha256:" + "d" * 64
NAME = "flowers"


def plain_app(**changes: object) -> ClusterApp:
    """A function that captured images reach, and nothing else, on a cluster with default settings."""
    image = str(changes.pop("image", IMAGE))
    function: FunctionSpec = replace(FunctionSpec(name=NAME, site="barn", artifact_digest="a" * 64), **changes)  # type: ignore[arg-type]
    app = ClusterApp(function=function, image=image, knative=KnativeSettings(), site=plain_site())
    return replace(app, triggers=(default_trigger(NAME),))


def at_site(app: ClusterApp, knative: KnativeSettings | None = None, site: SiteSettings | None = None) -> ClusterApp:
    """The app with other settings, and at another site."""
    return replace(app, knative=knative or app.knative, site=site or app.site)


def full_app() -> ClusterApp:
    """One of everything."""
    alarm = TriggerSpec(
        name="alarm",
        filter={"type": "dev.eaves.image.classified.v1", "confidence": "high"},
        url="http://alarm.barn.svc.cluster.local/",
        delivery=DeliverySettings(retry=3, dead_letter_sink="http://dead.barn.svc.cluster.local/"),
    )
    gate = TriggerSpec(
        name="gate",
        filter={"type": "dev.eaves.image.classified.v1"},
        url="mqtts://broker.barn.lan/gate/{label}",
        mqtt=MqttSection(retain=True, home_assistant=True, secret="broker-login", spool_size="100Mi"),
    )
    sources = (
        SourceSpec(name="inbox", claim="photos"),
        SourceSpec(name="camera", agent="node", options={"path": "/data/camera", "polling": True}),
    )
    plain = plain_app(
        scale=ScaleSettings(max=3, idle_s=90),
        concurrency=2,
        env={"EAVES_DATAREF_HOSTS": "store.example,*.store.example:8443", "EAVES_DATAREF_NETWORKS": "10.1.0.0/16"},
    )
    return replace(plain, triggers=(*plain.triggers, alarm, gate), sources=sources, knative=full_settings())


RECEIVER = "https://receiver.cloud.example"


def relayed_app(**relay: object) -> ClusterApp:
    """A function with sources of every kind of agent, and a relay."""
    sources = (
        SourceSpec(name="inbox", claim="photos"),
        SourceSpec(name="camera", agent="node", options={"path": "/data/camera"}),
        SourceSpec(name="shared", claim="shared", through="broker"),
    )
    values: dict[str, Any] = {
        "to": RECEIVER,
        "secret": "link",
        "images": "all",
        "alarms": ({"label": "fire"},),
        **relay,
    }
    return replace(plain_app(), sources=sources, relay=RelaySpec(**values), knative=full_settings())


def watching_app() -> ClusterApp:
    """A function with cameras: one that is reached over the network, and a device and a recording of each node."""
    stream = {"url": "rtsps://gate.barn.lan/stream1", "every_s": 1}
    sources = (
        SourceSpec(name="gate", kind="camera", options=stream, secret="gate-login"),
        SourceSpec(name="belt", kind="camera", options={"url": "/dev/video0"}, pod={"nodeSelector": {"camera": "usb"}}),
        SourceSpec(
            name="line",
            kind="camera",
            options={"url": "/dev/video1"},
            pod={"resources": {"limits": {"squat.ai/video": "1"}}},
            spool_size="1Gi",
        ),
        SourceSpec(name="night", kind="camera", options={"url": "/data/night.mjpeg"}),
    )
    return replace(plain_app(), sources=sources, knative=full_settings())


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
