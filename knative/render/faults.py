"""Faults of eaves.yaml for a cluster: settings that are valid alone, but can't work together there."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.config import build, env_layer
from eaves.credentials.redact import has_secrets
from eaves.errors import Fault
from eaves.publisher.settings import ATTRIBUTES_BYTES, PublisherSettings
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings
from knative.render.relay_faults import advise_secret, find_relay_faults
from knative.render.source_faults import MAX_STATEFUL_SET, advise_credentials, find_source_faults
from knative.resources.app.agent_images import find_missing_images
from knative.resources.app.sources import source_references
from knative.resources.eventing import publisher_name
from knative.resources.fields.quantities import find_size_fault
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterTrigger, find_object_fault


def find_faults(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[Fault]:
    """Yield every fault that prevents rendering an app for a site."""

    def fault(path: str, message: str) -> Fault:
        return Fault(origin="eaves.yaml", path=path, message=message)

    function = app.function
    if "@sha256:" not in function.image:
        got = f"got {function.image!r}" if function.image else "no container image is named"
        yield fault("knative.image", f"must name the function's container image by digest ({got})")
    for setting, message in find_missing_images(app, settings):
        yield fault(f"knative.{setting}", message)
    for path, message in find_relay_faults(app, site):
        yield fault(path, message)
    for index, trigger in enumerate(app.triggers[1:]):
        if not trigger.url and trigger.delivery.timeout_s <= function.scale.start_timeout_s:
            path = f"triggers[{index}].delivery.timeout_s"
            yield fault(
                path,
                f"must be above scale.start_timeout_s ({function.scale.start_timeout_s:g}), the "
                "time limit of a cold start",
            )
        for path, message in _publisher_faults(app, trigger, site) if trigger.is_mqtt else ():
            yield fault(f"triggers[{index}].{path}", message)
    for path, message in _reference_faults(app, settings, site):
        yield fault(path, message)
    for index, source in enumerate(app.sources):
        for path, message in find_source_faults(source, site, function.name):
            yield fault(path if path.startswith("sites.") else f"sources[{index}].{path}", message)


def _reference_faults(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield the faults of images that stay in buckets: the function must be able to fetch them."""
    serving = build(ServeSettings, env_layer(ServeSettings, app.function.env))
    if fault := find_object_fault(settings.dataref_secret):
        yield "knative.dataref_secret", fault
    elif settings.dataref_secret and not serving.dataref_hosts:
        yield "knative.dataref_secret", "has no effect without function.dataref_hosts"
    if serving.dataref_credentials and not settings.dataref_secret:
        folder = serving.dataref_credentials
        yield (
            "knative.dataref_secret",
            advise_secret(site, f"{app.function.name}-datarefs", "function.dataref_credentials", folder),
        )
    for source in app.sources:
        for url in source_references(source):
            if fault := find_url_fault(url, hosts=serving.dataref_hosts, schemes=serving.dataref_schemes):
                message = f"the function would refuse images of the source {source.name} at {url}: {fault}"
                yield "function.dataref_hosts", message


def _publisher_faults(app: ClusterApp, trigger: ClusterTrigger, site: SiteSettings) -> Iterator[tuple[str, str]]:
    if has_secrets(trigger.url):
        yield "url", advise_credentials(site, trigger.name, "mqtt.secret")
    if trigger.mqtt.credentials and not trigger.mqtt.secret:
        yield "mqtt.secret", advise_secret(site, trigger.name, "mqtt.credentials", trigger.mqtt.credentials)
    if fault := find_size_fault(trigger.mqtt.spool_size, PublisherSettings().max_bytes, ATTRIBUTES_BYTES, "events"):
        yield "mqtt.spool_size", fault
    name = publisher_name(app, trigger)
    if len(name) > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(name) + len(trigger.name)
        yield "name", f"must be at most {most} characters long, as the StatefulSet {name} is named after it"
    if any(name == f"{app.function.name}-{source.name}" for source in app.sources):
        yield "name", f"must be another name, as the StatefulSet of a source has the name {name} too"
