"""Faults of eaves.yaml for a relay on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from eaves.http_client.proxies import is_loopback
from eaves.platform.relay import CLOUD, LOW
from eaves.relay.settings import ATTRIBUTES_BYTES, RelaySettings
from knative.resources.fields.quantities import find_size_fault
from knative.settings import SiteSettings
from knative.specs import ClusterApp, ClusterRelay


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
