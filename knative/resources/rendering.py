"""Rendering of an app at a site: every object in the order of applying, and the same as YAML files.

`deploy` applies exactly these objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml

from eaves.base.files import write_atomically
from eaves.delivery.sinks import DATASET, find_scheme
from eaves.errors import ConfigError, Fault, StorageError
from eaves.http_client.proxies import is_loopback
from eaves.platform import RelaySpec, SourceSpec, TriggerSpec
from eaves.redact import has_secrets, redact
from eaves.sources.kind import load_kind
from knative.client.kinds import Manifest, Object
from knative.resources.agent import (
    CLAIM,
    CREDENTIALS,
    NODE,
    build_agents,
    find_missing_images,
    find_path,
    find_runner,
    find_secrets,
    reads_file,
)
from knative.resources.eventing import (
    build_broker,
    build_event_types,
    build_relay_triggers,
    build_servers,
    build_triggers,
    publisher_name,
)
from knative.resources.function import build_account, build_function, build_network_policy, build_pin
from knative.resources.pod import find_fragment_faults
from knative.settings import ClusterApp, Faults, SiteSettings

HEAD = "# Written by `eaves render` for `kubectl apply -f`. To change it, change eaves.yaml and render again.\n"


def render_app(app: ClusterApp) -> tuple[Manifest, ...]:
    """Render every object of an app at a site, in the order of applying.

    Raises:
        ConfigError: When eaves.yaml has faults for a cluster; it lists them all.
    """
    faults = list(find_faults(app))
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(_objects(app), key=lambda one: one["kind"] != "Namespace"))


def _objects(app: ClusterApp) -> Iterator[Manifest]:
    yield build_account(app)
    if app.knative.network_policy:
        yield build_network_policy(app)
    if app.knative.create_broker:
        yield build_broker(app)
    yield from build_event_types(app)
    if app.knative.pin:
        yield build_pin(app)
    yield build_function(app)
    yield from build_servers(app)
    yield from build_triggers(app)
    yield from build_relay_triggers(app)
    yield from build_agents(app)


class _Plain(yaml.SafeDumper):
    """YAML dumper that writes repeated values in full, without anchors, and a multi-line string as a block."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True, so that a repeated value is written in full and not as a reference to an anchor."""
        return True


def _represent_text(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def to_yaml(manifest: Object) -> str:
    """Render an object as YAML."""
    return yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)


def write_files(manifests: Sequence[Object], folder: Path, *, head: str = HEAD) -> list[Path]:
    """Write one file for each object, and remove files of an earlier rendering that are no longer wanted.

    Args:
        manifests: The objects, in the order of applying.
        folder: Folder for the files; it is created if it doesn't exist.
        head: First line of each file, a comment that says which command has written it.

    Raises:
        StorageError: When the folder can't be written.
    """
    # kubectl applies files in the order of their names, so objects that other objects need come first
    wanted = {
        f"{index}-{str(one['kind']).lower()}-{one['metadata']['name']}.yaml": one
        for index, one in enumerate(manifests, start=10)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.yaml"):
            if path.name not in wanted and path.read_text(encoding="utf-8").startswith(head):
                path.unlink()
        for name, manifest in wanted.items():
            content = head + to_yaml(manifest)
            write_atomically(folder / name, content, durability="none", mode=None, sole_writer=True)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{folder} can't be written: {error}", hint="choose another folder with --output") from error
    return [folder / name for name in wanted]


MAX_STATEFUL_SET = 52
"""Maximum characters of a StatefulSet's name, since its pods carry the name and a hash in a label of 63.

Source: kubernetes/kubernetes#64023.
"""


def find_faults(app: ClusterApp) -> Iterator[Fault]:
    """Yield every fault that prevents rendering an app for its site."""
    for path, message in _find_all(app):
        yield Fault(origin="eaves.yaml", path=path, message=message)


def _find_all(app: ClusterApp) -> Faults:
    if "@sha256:" not in app.image:
        got = f"got {app.image!r}" if app.image else "no container image is named"
        yield "knative.image", f"must name the function's container image by digest ({got})"
    yield from ((f"knative.{setting}", message) for setting, message in find_missing_images(app))
    for owner, fragment in (("knative", app.knative.pod), ("sites", app.site.pod)):
        yield from ((f"{owner}.pod.{path}", message) for path, message in find_fragment_faults(fragment))
    yield from _find_relay_faults(app)
    if app.choose.here:
        yield "choose.here", "must be false, as a cluster has no folder of labelled images; relay.images can be chosen"
    for index, trigger in enumerate(app.triggers[1:]):
        yield from ((f"triggers[{index}].{path}", message) for path, message in _find_trigger_faults(app, trigger))
    if app.knative.dataref_secret and not app.serving.dataref_hosts:
        yield "knative.dataref_secret", "has no effect without function.dataref_hosts"
    if app.serving.dataref_credentials and not app.knative.dataref_secret:
        folder = app.serving.dataref_credentials
        advice = _advise_secret(app.site, f"{app.name}-datarefs", "function.dataref_credentials", folder)
        yield "knative.dataref_secret", advice
    for index, source in enumerate(app.sources):
        for path, message in _find_source_faults(app, source):
            yield path if path.startswith("sites.") else f"sources[{index}].{path}", message


def _find_trigger_faults(app: ClusterApp, trigger: TriggerSpec) -> Faults:
    start_s = app.function.scale.start_timeout_s
    if not trigger.url and trigger.delivery.timeout_s <= start_s:
        yield "delivery.timeout_s", f"must be above scale.start_timeout_s ({start_s:g}), the time limit of a cold start"
    if not trigger.needs_publisher:
        return
    if find_scheme(trigger.url) == DATASET:
        yield "url", "can't be a folder, which pods don't have"
    if has_secrets(trigger.url):
        yield "url", _advise_credentials(app.site, trigger.name, "mqtt.secret")
    if trigger.mqtt.credentials and not trigger.mqtt.secret:
        yield "mqtt.secret", _advise_secret(app.site, trigger.name, "mqtt.credentials", trigger.mqtt.credentials)
    yield from _find_name_faults(publisher_name(app, trigger), trigger.name)


def _find_name_faults(stateful_set: str, name: str) -> Faults:
    most = MAX_STATEFUL_SET - len(stateful_set) + len(name)
    if len(name) > most:
        yield "name", f"must be at most {most} characters long, as the StatefulSet {stateful_set} is named after it"


def _find_relay_faults(app: ClusterApp) -> Faults:
    """Yield (path, text) of every fault that prevents rendering an app's relay; nothing when the app has none."""
    relay = app.relay
    if not relay.enabled:
        return
    if is_loopback(urlsplit(relay.to).hostname or ""):
        yield "relay.to", f"must be an address that pods can reach; {relay.to} is the pod itself"
    if not relay.secret:
        named = "must name the Secret with the site's token, by which the receiver identifies the site"
        yield "relay.secret", f"{named}; create it: {_create_relay_secret(relay, app.site)}"
    yield from app.faults()


def advise_relay_secret(relay: RelaySpec, site: SiteSettings) -> str:
    """Return a text with the command that creates the Secret with the site's token for the relay."""
    token = f"the token of the site {site.name}, which the relay needs"
    return f"create the Secret with {token}: {_create_relay_secret(relay, site)}"


def _create_relay_secret(relay: RelaySpec, site: SiteSettings) -> str:
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


def _find_source_faults(app: ClusterApp, source: SourceSpec) -> Faults:
    """Yield (path, message) of each fault of a source; the path is that of the source's setting, or a whole one."""
    kind = load_kind(source.kind)
    yield from ((f"pod.{path}", message) for path, message in find_fragment_faults(source.pod))
    for path in find_secrets(source.options):
        yield path, _advise_credentials(app.site, source.name, "secret")
    if (folder := source.options.get(CREDENTIALS)) and not source.secret:
        yield "secret", _advise_secret(app.site, source.name, CREDENTIALS, folder)
    if source.agent and source.agent not in kind.runs_as:
        known = " or ".join(kind.runs_as)
        yield "agent", f"must be {known} for the kind {source.kind} (got {source.agent!r})"
        return
    if (runner := find_runner(source)) == NODE:
        yield from _find_node_faults(source, app.site)
        return
    if reads_file(source):
        message = "must be the address of a server; a source with the path of a device or file needs `agent: node`"
        yield kind.place_setting, message
    if runner == CLAIM and not source.claim:
        also = ", or set `agent: node`" if NODE in kind.runs_as else ""
        yield "claim", f"must name the volume that the agent {source.name!r} reads{also}"
    yield from _find_name_faults(f"{app.name}-{source.name}", source.name)


def _find_node_faults(source: SourceSpec, site: SiteSettings) -> Faults:
    """Yield the faults of a source that runs on nodes."""
    kind, path = load_kind(source.kind), find_path(source)
    what = "folder" if CLAIM in kind.runs_as else "device or a video file"
    known = PurePosixPath(path)
    if not path.startswith("/") or ".." in known.parts or (reads_file(source) and str(known.parent) == "/"):
        yield kind.place_setting, f"must be the absolute path of a {what} on the nodes (got {redact(path)!r})"
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
