"""Faults of eaves.yaml for a cluster: settings that are valid alone, but can't work together there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from eaves.config import build, env_layer
from eaves.credentials.redact import has_secrets, redact
from eaves.errors import Fault
from eaves.http_client.proxies import is_loopback
from eaves.sources.kind import load_kind
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings
from knative.resources.eventing import publisher_name
from knative.resources.pod import find_fragment_faults
from knative.resources.sources import (
    CREDENTIALS,
    SourceRunner,
    configure,
    find_missing_images,
    find_path,
    find_runner,
    find_secrets,
    reads_file,
)
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp, ClusterRelay, ClusterSource, ClusterTrigger, find_object_fault


def find_faults(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[Fault]:
    """Yield every fault that prevents rendering an app for a site."""
    for path, message in _find_all(app, settings, site):
        yield Fault(origin="eaves.yaml", path=path, message=message)


def _find_all(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[tuple[str, str]]:
    function = app.function
    if "@sha256:" not in function.image:
        got = f"got {function.image!r}" if function.image else "no container image is named"
        yield "knative.image", f"must name the function's container image by digest ({got})"
    yield from ((f"knative.{setting}", message) for setting, message in find_missing_images(app, settings))
    for owner, fragment in (("knative", settings.pod), ("sites", site.pod)):
        yield from ((f"{owner}.pod.{path}", message) for path, message in find_fragment_faults(fragment))
    yield from _find_relay_faults(app, site)
    for index, trigger in enumerate(app.triggers[1:]):
        yield from (
            (f"triggers[{index}].{path}", message) for path, message in _find_trigger_faults(app, trigger, site)
        )
    yield from _reference_faults(app, settings, site)
    for index, source in enumerate(app.sources):
        for path, message in _find_source_faults(source, site, app):
            yield path if path.startswith(("sites.", "function.")) else f"sources[{index}].{path}", message


def _find_trigger_faults(app: ClusterApp, trigger: ClusterTrigger, site: SiteSettings) -> Iterator[tuple[str, str]]:
    start_s = app.function.scale.start_timeout_s
    if not trigger.url and trigger.delivery.timeout_s <= start_s:
        yield "delivery.timeout_s", f"must be above scale.start_timeout_s ({start_s:g}), the time limit of a cold start"
    if not trigger.is_mqtt:
        return
    if has_secrets(trigger.url):
        yield "url", _advise_credentials(site, trigger.name, "mqtt.secret")
    if trigger.mqtt.credentials and not trigger.mqtt.secret:
        yield "mqtt.secret", _advise_secret(site, trigger.name, "mqtt.credentials", trigger.mqtt.credentials)
    yield from _find_name_faults(publisher_name(app, trigger), trigger.name)


def _find_name_faults(stateful_set: str, name: str) -> Iterator[tuple[str, str]]:
    most = MAX_STATEFUL_SET - len(stateful_set) + len(name)
    if len(name) > most:
        yield "name", f"must be at most {most} characters long, as the StatefulSet {stateful_set} is named after it"


def _reference_faults(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield the faults of the credentials with which the function fetches images that stay in buckets."""
    serving = build(ServeSettings, env_layer(ServeSettings, app.function.env))
    if fault := find_object_fault(settings.dataref_secret):
        yield "knative.dataref_secret", fault
    elif settings.dataref_secret and not serving.dataref_hosts:
        yield "knative.dataref_secret", "has no effect without function.dataref_hosts"
    if serving.dataref_credentials and not settings.dataref_secret:
        folder = serving.dataref_credentials
        yield (
            "knative.dataref_secret",
            _advise_secret(site, f"{app.function.name}-datarefs", "function.dataref_credentials", folder),
        )


def _find_relay_faults(app: ClusterApp, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every fault that prevents rendering an app's relay; nothing when the app has none."""
    relay = app.relay
    if not relay.enabled:
        return
    if is_loopback(urlsplit(relay.to).hostname or ""):
        yield "relay.to", f"must be an address that pods can reach; {relay.to} is the pod itself"
    if not relay.secret:
        named = "must name the Secret with the site's token, by which the receiver identifies the site"
        yield "relay.secret", f"{named}; create it: {_create_relay_secret(relay, site)}"
    yield from app.faults()


def advise_relay_secret(relay: ClusterRelay, site: SiteSettings) -> str:
    """Return a text with the command that creates the Secret with the site's token for the relay."""
    token = f"the token of the site {site.name}, which the relay needs"
    return f"create the Secret with {token}: {_create_relay_secret(relay, site)}"


def _create_relay_secret(relay: ClusterRelay, site: SiteSettings) -> str:
    files = relay.credentials or "token=FILE --from-file=ca.crt=FILE"
    return f"{_show_kubectl(site)} create secret generic {relay.secret or 'relay'} --from-file={files}"


def _advise_secret(site: SiteSettings, name: str, setting: str, folder: object) -> str:
    """Return a text with the command that creates a Secret from a folder of credentials, which pods can't read."""
    return (
        f"must name a Secret, as pods can't read the folder in {setting}; create it: {_show_kubectl(site)} create "
        f"secret generic {name} --from-file={folder}"
    )


def _show_kubectl(site: SiteSettings) -> str:
    """Return the beginning of a kubectl command in a site's namespace, such as `kubectl -n NAMESPACE`."""
    return f"kubectl -n {site.namespace}" if site.namespace else "kubectl"


MAX_STATEFUL_SET = 52
"""Maximum characters of a StatefulSet's name, since its pods carry the name and a hash in a label of 63.

Source: kubernetes/kubernetes#64023.
"""


def _find_source_faults(source: ClusterSource, site: SiteSettings, app: ClusterApp) -> Iterator[tuple[str, str]]:
    """Yield (path, message) of each fault of a source; the path is that of the source's setting, or a whole one."""
    known = load_kind(source.kind).runs_as
    yield from ((f"pod.{path}", message) for path, message in find_fragment_faults(source.pod))
    for path in find_secrets(source.options):
        yield path, _advise_credentials(site, source.name, "secret")
    if (folder := source.options.get(CREDENTIALS)) and not source.secret:
        yield "secret", _advise_secret(site, source.name, CREDENTIALS, folder)
    if source.agent and source.agent not in known:
        yield "agent", f"must be {' or '.join(known)} for the kind {source.kind} (got {source.agent!r})"
        return
    runner = find_runner(source)
    if runner is SourceRunner.NODE:
        yield from _find_node_faults(source, site)
    elif reads_file(source):
        path = load_kind(source.kind).path_setting
        yield path, "must be the address of a server; a source with the path of a device or file needs `agent: node`"
    if runner in {SourceRunner.CLAIM, SourceRunner.READER} and not source.claim:
        also = ", or set `agent: node`" if SourceRunner.NODE in known else ""
        yield "claim", f"must name the volume that the agent {source.name!r} reads{also}"
    if runner in {SourceRunner.CLAIM, SourceRunner.SERVICE}:
        yield from _find_name_faults(f"{app.function.name}-{source.name}", source.name)
    serving = build(ServeSettings, env_layer(ServeSettings, app.function.env))
    by_bytes = source.through == "function" and not app.cloud_function
    for url in configure(source).reference_urls(by_bytes=by_bytes):
        if fault := find_url_fault(url, hosts=serving.dataref_hosts, schemes=serving.dataref_schemes):
            message = f"the function would refuse images of the source {source.name} at {url}: {fault}"
            yield "function.dataref_hosts", message


def _find_node_faults(source: ClusterSource, site: SiteSettings) -> Iterator[tuple[str, str]]:
    """Yield the faults of a source that runs on nodes."""
    kind, path = load_kind(source.kind), find_path(source)
    what = "folder" if SourceRunner.CLAIM in kind.runs_as else "device or a video file"
    known = PurePosixPath(path)
    if not path.startswith("/") or ".." in known.parts or (reads_file(source) and str(known.parent) == "/"):
        yield kind.path_setting, f"must be the absolute path of a {what} on the nodes (got {redact(path)!r})"
    if not site.namespace:
        yield "sites.namespace", f"must be set, as the agent {source.name!r} on the nodes runs in another namespace"


def _advise_credentials(site: SiteSettings, name: str, setting: str) -> str:
    """Describe how to move a password out of an address in eaves.yaml into a Secret."""
    return (
        "must not have a password or token, as everyone who can read the pod can read the address; create a "
        f"Secret, {_show_kubectl(site)} create secret generic {name} --from-literal=username=USER "
        f"--from-file=password=FILE, name it in {setting}: {name}, and remove user name and password from the "
        "address; if they belong in its path or query, write {username} and {password} there"
    )
