"""The commands `eaves receiver`, the server in the cloud that accepts the events of sites, and `eaves console`."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.cli import CommandGroup
from eaves.cli.link import describe_backlog, open_receiver, print_ledger, receiver_spool
from eaves.cli.live import StopSignals
from eaves.cli.output import (
    describe_age,
    output_option,
    print_line,
    print_manifests,
    print_rows,
    print_sentence,
    print_value,
    say,
)
from eaves.cli.project import DIRECTORY, FILE_PATH
from eaves.cli.site import state_option
from eaves.config import SettingsLayer
from eaves.errors import ConfigError, Fault, NotRunningError
from eaves.link.settings import ReceiverSettings
from eaves.options import build_settings, settings_options
from knative.resources.standalone_servers import ConsoleDeployment, ReceiverDeployment

SECTION = "receiver."
"""Name of the settings section; the names of the settings' environment variables begin with it."""
HINTS = {
    "credentials": "add --credentials FOLDER; docs/link.md#a-certificate-of-your-own makes one with openssl",
    "sink": "add --sink ADDRESS or --folder FOLDER, not both",
    "port": "eaves receiver run --port PORT, with a port that is free",
}
RENDER_HINTS = {
    "image": "run make image, push eaves-agent to a registry, and add --image NAME@sha256:DIGEST, which the push "
    "prints; see docs/link.md#in-a-cluster",
    "broker": "add --broker NAME, --sink ADDRESS or --folder-size 10Gi",
}
FOLDER = "received"
"""Folder that events are written to when neither a sink nor another folder is set."""
COLUMNS = {"site": "SITE", "contact": "LAST CONTACT", "stored": "STORED", "repeated": "REPEATED", "refused": "REFUSED"}
_TAKEN = ("stored", "repeated", "predicted")
_spool_option = click.option(
    "--spool",
    type=FILE_PATH,
    help="Spool file of the receiver. Default: that of `eaves receiver run` on this machine.",
)


@contextmanager
def named_by_flag(hints: Mapping[str, str]) -> Iterator[None]:
    """Re-raise a ConfigError of the block so that a fault of a setting that no variable has set names its flag.

    Args:
        hints: Name of a setting to a hint; the error gets the hint of the first fault whose setting has one.

    Raises:
        ConfigError: When the block raises one.
    """
    try:
        yield
    except ConfigError as error:
        hint = next((hints[fault.path] for fault in error.faults if fault.path in hints), error.hint)
        raise ConfigError([_name(fault) for fault in error.faults], hint=hint) from error


def _name(fault: Fault) -> Fault:
    flag = f"--{fault.path.replace('_', '-')}"
    if fault.path and fault.origin in (flag, "receiver", "defaults", "settings", "environment", "command line"):
        return Fault(origin=flag, path="", message=fault.message)
    return fault


@click.group(cls=CommandGroup)
def receiver() -> None:
    """Receive the events of sites in the cloud, create their tokens, and show what was received."""


@receiver.command()
@state_option
@settings_options(
    ReceiverSettings,
    section=SECTION,
    defaults={"folder": FOLDER, "spool": "receiver/receiver.db in --state", "log_json": "no"},
)
def run(state_dir: Path, **options: Any) -> None:
    """Run a receiver in the foreground, until Ctrl-C.

    Without --sink and --folder, it writes events into the folder `received`: a file of JSON lines for each day, and the
    images. A site is accepted with a token (`eaves receiver token`).
    """
    from eaves.http_client.proxies import parse_proxies
    from eaves.link.receiver import serving

    defaults: dict[str, Any] = {"spool": str(receiver_spool(state_dir)), "log_json": False}
    with named_by_flag(HINTS):
        settings = build_settings(
            ReceiverSettings, options, SettingsLayer(origin="defaults", values=defaults), section=SECTION
        )
    if not (settings.sink or settings.folder):
        settings = replace(settings, folder=Path(FOLDER))
    logs.configure(as_json=settings.log_json)
    signals = StopSignals()  # a thread that a library started may take a signal, so blocking them here isn't enough
    with named_by_flag(HINTS), serving(settings, parse_proxies(os.environ)) as server:
        url = f"{'https' if settings.credentials else 'http'}://{settings.host}:{server.port}"
        click.echo(url)
        target = settings.sink or f"the folder {settings.folder}"
        say(f"{url} accepts events of the sites in {settings.sites} for {target}; Ctrl-C stops it")
        signals.wait()


@receiver.command()
@click.argument("site")
@click.option(
    "--sites",
    type=DIRECTORY,
    default=Path("sites"),
    show_default=True,
    help="Folder of the sites' tokens.",
)
@click.option("--keep", is_flag=True, help="Keep the existing tokens valid while the site changes to the new one.")
@click.option("--replace", "anew", is_flag=True, help="Replace the existing tokens, which become invalid.")
def token(site: str, sites: Path, keep: bool, anew: bool) -> None:
    """Write a new random token for SITE. A running receiver accepts the token within a second."""
    from eaves.link.sites import add_token

    if keep and anew:
        raise click.UsageError("--keep or --replace, not both.")
    path = add_token(sites, site, keep=keep, replace=anew)
    print_line(path)
    folder, file = shlex.quote(f"{site}-link"), shlex.quote(str(path))
    say(f"to make the site's credentials: (umask 077; mkdir -p {folder}; tail -n 1 {file} > {folder}/token)")
    say("if no public authority signed the receiver's certificate, add its ca.crt to that folder")
    say(f"then move the folder to the site, whose eaves.yaml needs `site: {site}` and the folder in relay.credentials")
    say(f"in a cluster, set relay.secret to a Secret: kubectl create secret generic {folder} --from-file={folder}")
    say(f"keep the token secret: everybody who has it can send events as {site}")


@receiver.command()
@_spool_option
@output_option
@state_option
def status(spool: Path | None, form: str, state_dir: Path) -> None:
    """Show the last contact of each site, and the events that were received, refused and are queued.

    All counts begin when the receiver on this machine was started.
    """
    from eaves.admin.client import SocketQueue
    from eaves.admin.server import default_socket

    socket = default_socket(spool or receiver_spool(state_dir))
    try:
        found = SocketQueue(socket).health()
    except NotRunningError as error:
        raise NotRunningError(
            f"no receiver is running here: {error.message}", hint="eaves receiver run, or name its spool with --spool"
        ) from error
    if form != "table":
        print_value(dict(found), form)
        return
    print_rows(build_rows(found, time.time()), COLUMNS, form)
    target = found.get("target") or "a sink that isn't known"
    place = target if "://" in target or not found.get("target") else f"the folder {target}"
    for lane in found.get("report", {}).get("lanes", ()):
        waiting = describe_backlog(lane["queued"], lane["queued_bytes"], lane["oldest_age_s"], place)
        print_sentence(f"{waiting}; paused: {lane['reason']}" if lane["paused"] else waiting)
        if lane["dead"]:
            say(f"{lane['dead']:,} dead letters are kept; to show them: eaves queue list --dead --receiver")
    if failed := found.get("failed_handshakes"):
        say(f"{failed:,} TLS handshakes failed; check that sites trust the certificate; the log has their addresses")
    for sites in found.get("shared_tokens", ()):
        say(f"the sites {' and '.join(sites)} have the same token, so none is accepted; give each a token of its own")


def build_rows(found: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """Return a table row for each site, and one for requests whose sender isn't a known site.

    Args:
        found: The receiver's own report of its state.
        now: Current time, Unix seconds.
    """
    contacts, received = found.get("contacts", {}), found.get("received", {})
    rows = []
    for site in [*sorted({*contacts, *received} - {""}), *([""] if received.get("") else [])]:
        at, counts = contacts.get(site), received.get(site, {})
        contact = "not since the start" if at is None else f"{describe_age(max(0.0, now - at))} ago"
        refused = [f"{outcome} {count:,}" for outcome, count in counts.items() if outcome not in _TAKEN and count]
        row = {"site": site or "(unknown)", "contact": contact if site else "", "refused": ", ".join(refused)}
        rows.append({**row, "stored": counts.get("stored", 0), "repeated": counts.get("repeated", 0)})
    return rows


@receiver.command()
@_spool_option
@click.option("--site", default="", help="Print only events of this site.")
@state_option
def ledger(spool: Path | None, site: str, state_dir: Path) -> None:
    """Print every event that a receiver on this machine got, as JSON lines in the order of arrival.

    Each line has number, source, id, at (when the event was received, Unix seconds), state, repeats and digest.
    """
    prefix = f"/eaves/{site}/" if site else ""
    with open_receiver(spool or receiver_spool(state_dir)) as target:
        print_ledger(line for line in target.read_ledger() if line.source.startswith(prefix))


@receiver.command()
@click.option("-o", "--output", "output", type=DIRECTORY, help="Folder for the files.")
@settings_options(ReceiverDeployment, section=SECTION)
def render(output: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects of a receiver as YAML, for the cluster that sites send to.

    kubectl, Argo CD and Flux apply the objects unchanged. Prints YAML, or with --output the paths of the files. The
    Secrets that the objects refer to must be created separately; the command prints how.
    """
    from knative.resources.standalone_servers import build_receiver

    with named_by_flag(RENDER_HINTS):
        wanted = build_settings(ReceiverDeployment, options, section=SECTION)
    create = f"kubectl {f'-n {wanted.namespace} ' if wanted.namespace else ''}create secret"
    certificate = f"{create} tls {wanted.tls_secret} --cert=FILE --key=FILE, or a Certificate of cert-manager"
    tokens = f"{create} generic {wanted.sites_secret} --from-file=SITE=FILE, with a file of tokens for each site"
    advice = [f"Secret of the receiver's certificate: {certificate}", f"Secret of the sites' tokens: {tokens}"]
    if wanted.client_ca_secret:
        authorities = f"{create} generic {wanted.client_ca_secret} --from-file=ca.crt=FILE"
        advice.append(f"Secret of the authorities that sign sites' certificates: {authorities}")
    print_manifests({"": tuple(build_receiver(wanted))}, output, advice)


CONSOLE_HINTS = {
    "image": "run make image, push eaves-console to a registry, and add --image NAME@sha256:DIGEST, which the push "
    "prints; see docs/local-platform.md#at-a-site"
}


@click.group(cls=CommandGroup)
def console() -> None:
    """Show a platform as a web page.

    `eaves up` serves the page of this machine and prints its address. `eaves console render` writes the Kubernetes
    objects that serve the page of a site.
    """


@console.command("render")
@click.option("-o", "--output", "output", type=DIRECTORY, help="Folder for the files.")
@settings_options(ConsoleDeployment, section="console.")
def render_console(output: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects of a site's console as YAML.

    kubectl, Argo CD and Flux apply the objects unchanged. The console can read the site and change nothing unless
    --writable is given. Prints YAML, or with --output the paths of the files. The Secrets that the objects refer to
    must be created separately; the command prints how.
    """
    from knative.resources.standalone_servers import build_console

    with named_by_flag(CONSOLE_HINTS):
        wanted = build_settings(ConsoleDeployment, options, section="console.")
    kubectl = f"kubectl {f'-n {wanted.namespace} ' if wanted.namespace else ''}"
    certificate = f"{kubectl}create secret tls {wanted.tls_secret} --cert=FILE --key=FILE"
    password = f"{kubectl}create secret generic {wanted.password_secret} --from-file=password=FILE"
    advice = [
        f"Secret of the console's certificate: {certificate}, or a Certificate of cert-manager",
        f"Secret of the pages' password: {password}",
        f"to open the pages: {kubectl}port-forward service/{wanted.name} 8443:443, then https://localhost:8443/",
    ]
    print_manifests({"": tuple(build_console(wanted))}, output, advice)
