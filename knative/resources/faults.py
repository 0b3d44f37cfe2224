"""Faults of eaves.yaml for a cluster: settings that are valid alone, but can't work together there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from eaves.config import build, env_layer
from eaves.credentials.redact import has_secrets, redact
from eaves.errors import Fault, NotFoundError
from eaves.http_client.proxies import is_loopback
from eaves.platform.relay import CLOUD, LOW
from eaves.publisher.settings import PublisherSettings
from eaves.relay.settings import RelaySettings
from eaves.sources.agent.kinds import load_kind
from eaves.sources.settings import ATTRIBUTES_BYTES
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings
from knative.resources.eventing import publisher_name
from knative.resources.pod import find_fragment_faults, find_size_fault
from knative.resources.server import METRICS_PORT
from knative.resources.sources import (
    CREDENTIALS,
    SourceRunner,
    find_listening_port,
    find_missing_images,
    find_path,
    find_runner,
    find_secrets,
    largest_image,
    reads_file,
    source_references,
)
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterRelay, ClusterSource, ClusterTrigger, find_object_fault


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
    for owner, fragment in (("knative", settings.pod), ("sites", site.pod)):
        for path, message in find_fragment_faults(fragment):
            yield fault(f"{owner}.pod.{path}", message)
    for path, message in find_relay_faults(app, site):
        yield fault(path, message)
    for path, message in _trigger_faults(app, site):
        yield fault(path, message)
    for path, message in _reference_faults(app, settings, site):
        yield fault(path, message)
    for index, source in enumerate(app.sources):
        for path, message in find_source_faults(source, site, function.name):
            yield fault(path if path.startswith("sites.") else f"sources[{index}].{path}", message)


def _trigger_faults(app: ClusterApp, site: SiteSettings) -> Iterator[tuple[str, str]]:
    start_s = app.function.scale.start_timeout_s
    for index, trigger in enumerate(app.triggers[1:]):
        if not trigger.url and trigger.delivery.timeout_s <= start_s:
            message = f"must be above scale.start_timeout_s ({start_s:g}), the time limit of a cold start"
            yield f"triggers[{index}].delivery.timeout_s", message
        for path, message in _publisher_faults(app, trigger, site) if trigger.is_mqtt else ():
            yield f"triggers[{index}].{path}", message


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


def find_relay_faults(app: ClusterApp, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every fault that prevents rendering an app's relay; nothing when the app has none."""
    relay = app.relay
    if not relay.enabled:
        return
    if is_loopback(urlsplit(relay.to).hostname or ""):
        yield "relay.to", f"must be an address that pods can reach; {relay.to} is the pod itself"
    if relay.credentials and not relay.secret:
        yield "relay.secret", advise_secret(site, "relay", "relay.credentials", relay.credentials)
    elif not relay.secret:
        create = f"{show_kubectl(site)} create secret generic relay --from-file=token=FILE --from-file=ca.crt=FILE"
        yield (
            "relay.secret",
            (
                "must name the Secret with the site's token, by which the receiver identifies the "
                f"site; create it: {create}"
            ),
        )
    if fault := find_size_fault(relay.spool_size, RelaySettings().max_bytes, ATTRIBUTES_BYTES, "events"):
        yield "relay.spool_size", fault
    for index, source in enumerate(app.sources):
        if source.through == "broker" and app.through == CLOUD:
            yield (
                f"sources[{index}].through",
                ("must be function if `through` is cloud, as the agent asks the function itself"),
            )
        elif source.through == "broker" and relay.images == LOW:
            yield (
                f"sources[{index}].through",
                (
                    "must be function if relay.images is low, as only then the agent has both the image and its "
                    "prediction"
                ),
            )


def advise_relay_secret(relay: ClusterRelay, site: SiteSettings) -> str:
    """Return a text with the command that creates the Secret with the site's token for the relay."""
    files = (
        f"--from-file={relay.credentials}" if relay.credentials else "--from-file=token=FILE --from-file=ca.crt=FILE"
    )
    return (
        f"create the Secret with the token of the site {site.name}, which the relay needs: {show_kubectl(site)} "
        f"create secret generic {relay.secret} {files}"
    )


def advise_secret(site: SiteSettings, name: str, setting: str, folder: object) -> str:
    """Return a text with the command that creates a Secret from a folder of credentials, which pods can't read."""
    return (
        f"must name a Secret, as pods can't read the folder in {setting}; create it: {show_kubectl(site)} create "
        f"secret generic {name} --from-file={folder}"
    )


def show_kubectl(site: SiteSettings) -> str:
    """Return the beginning of a kubectl command in a site's namespace, such as `kubectl -n NAMESPACE`."""
    return f"kubectl -n {site.namespace}" if site.namespace else "kubectl"


MAX_STATEFUL_SET = 52
"""Maximum characters of a StatefulSet's name, since its pods carry the name and a hash in a label of 63.

Source: kubernetes/kubernetes#64023.
"""
UNPRIVILEGED_PORT = 1024
"""Lowest port that a process without privileges may listen on. Source: Linux, ip_unprivileged_port_start."""


def find_source_faults(source: ClusterSource, site: SiteSettings, function: str) -> Iterator[tuple[str, str]]:
    """Yield path and message of each fault of one source; a path that begins with `sites.` is that of a site's setting.

    Args:
        source: The source.
        site: Site that it is rendered for.
        function: Name of the app's function.
    """
    try:
        known = load_kind(source.kind).runs_as
    except NotFoundError as error:
        yield "kind", error.message
        return
    yield from ((f"pod.{path}", message) for path, message in find_fragment_faults(source.pod))
    for path in find_secrets(source.options):
        yield path, advise_credentials(site, source.name, "secret")
    if (folder := source.options.get(CREDENTIALS)) and not source.secret:
        yield "secret", advise_secret(site, source.name, CREDENTIALS, folder)
    if source.agent and source.agent not in known:
        yield "agent", f"must be {' or '.join(known)} for the kind {source.kind} (got {source.agent!r})"
        return
    if port := find_listening_port(source):
        yield from _find_listening_faults(source, port)
    runner = find_runner(source)
    yield from _find_node_faults(source, site) if runner is SourceRunner.NODE else _find_other_faults(source)
    if runner in {SourceRunner.CLAIM, SourceRunner.READER} and not source.claim:
        also = ", or set `agent: node`" if SourceRunner.NODE in known else ""
        yield "claim", f"must name the volume that the agent {source.name!r} reads{also}"
    if fault := find_size_fault(source.spool_size, largest_image(source), ATTRIBUTES_BYTES, "images"):
        yield "spool_size", fault
    if runner in {SourceRunner.CLAIM, SourceRunner.SERVICE} and len(f"{function}-{source.name}") > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(function) - 1
        yield "name", f"must be at most {most} characters long, as the StatefulSet {function}-NAME is named after it"


def _find_listening_faults(source: ClusterSource, port: int) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that takes requests."""
    setting = load_kind(source.kind).port_setting
    if port == METRICS_PORT:
        yield setting, f"must differ from {METRICS_PORT}, the port of the agent's metrics on a cluster"
    elif port < UNPRIVILEGED_PORT:
        yield setting, f"must be at least {UNPRIVILEGED_PORT} on a cluster, as the agent isn't root (got {port})"
    if not source.secret:
        yield "secret", "must name a Secret with the key `token`, as every request without the token is refused"


def _find_node_faults(source: ClusterSource, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that runs on nodes."""
    kind, path = load_kind(source.kind), find_path(source)
    what = "folder" if SourceRunner.CLAIM in kind.runs_as else "device or a video file"
    known = PurePosixPath(path)
    if not path.startswith("/") or ".." in known.parts or (reads_file(source) and str(known.parent) == "/"):
        yield kind.path_setting, f"must be the absolute path of a {what} on the nodes (got {redact(path)!r})"
    if not site.namespace:
        yield "sites.namespace", f"must be set, as the agent {source.name!r} on the nodes runs in another namespace"


def _find_other_faults(source: ClusterSource) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that runs in the app's namespace and has settings for nodes."""
    if reads_file(source):
        path = load_kind(source.kind).path_setting
        yield path, "must be the address of a server; a source with the path of a device or file needs `agent: node`"


def advise_credentials(site: SiteSettings, name: str, setting: str) -> str:
    """Describe how to move a password out of an address in eaves.yaml into a Secret."""
    return (
        "must not have a password or token, as everyone who can read the pod can read the address; create a "
        f"Secret, {show_kubectl(site)} create secret generic {name} --from-literal=username=USER "
        f"--from-file=password=FILE, name it in {setting}: {name}, and remove user name and password from the "
        "address; if they belong in its path or query, write {username} and {password} there"
    )
