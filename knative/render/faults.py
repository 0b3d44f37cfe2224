"""Faults of eaves.yaml for a cluster: settings that are valid alone, but can't work together there."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.credentials.redact import has_secrets
from eaves.errors import Fault, NotFoundError
from eaves.publisher.settings import ATTRIBUTES_BYTES as EVENT_ATTRIBUTES
from eaves.publisher.settings import PublisherSettings
from eaves.sources.agent.kinds import load_kind
from eaves.sources.settings import ATTRIBUTES_BYTES as IMAGE_ATTRIBUTES
from knative.render.relay_faults import advise_secret, find_relay_faults, show_kubectl
from knative.resources.app.sources import CREDENTIALS, SourceRunner, find_runner, find_secrets, largest_image
from knative.resources.eventing import publisher_name
from knative.resources.fields.quantities import find_size_fault
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterSource, ClusterTrigger

MAX_STATEFUL_SET = 52
"""Maximum characters of a StatefulSet's name, since its pods carry the name and a hash in a label of 63.

Source: kubernetes/kubernetes#64023.
"""


def find_faults(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[Fault]:
    """Yield every fault that prevents rendering an app for a site."""

    def fault(path: str, message: str) -> Fault:
        return Fault(origin="eaves.yaml", path=path, message=message)

    function = app.function
    if "@sha256:" not in function.image:
        got = f"got {function.image!r}" if function.image else "no container image is named"
        yield fault("knative.image", f"must name the function's container image by digest ({got})")
    takes_agent = app.sources or app.relay.enabled or any(trigger.is_mqtt for trigger in app.triggers)
    if takes_agent and not settings.agent_image:
        yield fault(
            "knative.agent_image", "must be set if the app has sources, a relay, or triggers that publish to MQTT"
        )
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
    for index, source in enumerate(app.sources):
        for path, message in _source_faults(source, site, function.name):
            yield fault(path if path.startswith("sites.") else f"sources[{index}].{path}", message)


def _publisher_faults(app: ClusterApp, trigger: ClusterTrigger, site: SiteSettings) -> Iterator[tuple[str, str]]:
    if has_secrets(trigger.url):
        yield "url", _password_in_address(site, trigger.name, "mqtt.secret")
    if trigger.mqtt.credentials and not trigger.mqtt.secret:
        yield "mqtt.secret", advise_secret(site, trigger.name, "mqtt.credentials", trigger.mqtt.credentials)
    if fault := find_size_fault(trigger.mqtt.spool_size, PublisherSettings().max_bytes, EVENT_ATTRIBUTES, "events"):
        yield "mqtt.spool_size", fault
    name = publisher_name(app, trigger)
    if len(name) > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(name) + len(trigger.name)
        yield "name", f"must be at most {most} characters long, as the StatefulSet {name} is named after it"
    if any(name == f"{app.function.name}-{source.name}" for source in app.sources):
        yield "name", f"must be another name, as the StatefulSet of a source has the name {name} too"


def _password_in_address(site: SiteSettings, name: str, setting: str) -> str:
    """Describe how to move a password out of an address in eaves.yaml into a Secret."""
    return (
        "must not have a password or token, as everyone who can read the pod can read the address; create a "
        f"Secret, {show_kubectl(site)} create secret generic {name} --from-literal=username=USER "
        f"--from-file=password=FILE, name it in {setting}: {name}, and remove user name and password from the "
        "address; if they belong in the query, write {username} and {password} there"
    )


def _source_faults(source: ClusterSource, site: SiteSettings, function: str) -> Iterator[tuple[str, str]]:
    try:
        known = load_kind(source.kind).runs_as
    except NotFoundError as error:
        yield "kind", error.message
        return
    for path in find_secrets(source.options):
        yield path, _password_in_address(site, source.name, "secret")
    if (folder := source.options.get(CREDENTIALS)) and not source.secret:
        yield "secret", advise_secret(site, source.name, CREDENTIALS, folder)
    if source.agent and source.agent not in known:
        yield "agent", f"must be {' or '.join(known)} for the kind {source.kind} (got {source.agent!r})"
        return
    runner = find_runner(source)
    if runner is SourceRunner.NODE:
        path = str(source.options.get("path", ""))
        if not path.startswith("/"):
            yield "path", f"must be the absolute path of a folder on the nodes (got {path!r})"
        if not site.namespace:
            yield (
                "sites.namespace",
                (f"must be set, as the agent {source.name!r} on the nodes runs in another namespace"),
            )
    elif runner in {SourceRunner.CLAIM, SourceRunner.READER} and not source.claim:
        also = ", or set `agent: node`" if SourceRunner.NODE in known else ""
        yield "claim", f"must name the volume that the agent {source.name!r} reads{also}"
    if fault := find_size_fault(source.spool_size, largest_image(source), IMAGE_ATTRIBUTES, "images"):
        yield "spool_size", fault
    if runner in {SourceRunner.CLAIM, SourceRunner.SERVICE} and len(f"{function}-{source.name}") > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(function) - 1
        yield "name", f"must be at most {most} characters long, as the StatefulSet {function}-NAME is named after it"
