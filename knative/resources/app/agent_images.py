"""Container images of agents: a plain one, and a larger one for sources that need a library that others don't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from knative.resources.app.sources import find_extra
from knative.settings import KnativeSettings
from knative.specs import ClusterApp, ClusterSource

SETTINGS: Mapping[str, str] = {
    "": "agent_image",
    "camera": "agent_camera_image",
    "s3": "agent_s3_image",
}
"""Setting in the section `knative` of the container image, by the extra of Eaves that it includes."""
TARGETS: Mapping[str, str] = {"": "agent", "camera": "agent-camera", "s3": "agent-s3"}
"""Target of the Dockerfile of each container image, by the extra of Eaves that it includes."""


def find_agent_image(source: ClusterSource, settings: KnativeSettings) -> str:
    """Return the container image of a source's agent; empty when it isn't set."""
    return str(getattr(settings, SETTINGS[find_extra(source)]))


def find_any_agent_image(settings: KnativeSettings) -> str:
    """Return the smallest container image of agents that is set; empty when none is."""
    return next(filter(None, (str(getattr(settings, name)) for name in SETTINGS.values())), "")


def find_missing_images(app: ClusterApp, settings: KnativeSettings) -> Iterator[tuple[str, str]]:
    """Yield setting and message for each container image of agents that an app needs and that isn't set."""
    extras = {source.name: find_extra(source) for source in app.sources}
    plain = "" in extras.values() or app.relay.enabled or any(trigger.is_mqtt for trigger in app.triggers)
    if plain and not settings.agent_image:
        yield SETTINGS[""], "must be set if the app has sources, a relay, or triggers that publish to MQTT"
    for extra, setting in SETTINGS.items():
        names = [name for name, needed in extras.items() if needed == extra]
        if extra and names and not getattr(settings, setting):
            sources = f"sources such as {names[0]}"
            target = f"the Dockerfile's target {TARGETS[extra]}"
            yield setting, f"must name the container image of {target} by digest, because {sources} need it"
