"""The command `eaves receiver run`, which runs a receiver in the foreground."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.cli.display.output import say
from eaves.cli.link.receiver_settings import named_by_flag, receiver_spool
from eaves.cli.shared_options import state_option
from eaves.cli.stop_signals import StopSignals
from eaves.config import SettingsLayer, iter_leaves
from eaves.errors import ConfigError, Fault
from eaves.options import build_settings, settings_options
from eaves.receiver.settings import ReceiverSettings

SECTION = "receiver."
"""Name of the settings section; the names of the settings' environment variables begin with it."""
HINTS = {
    "credentials": "add --credentials FOLDER; docs/15-receiver.md#a-certificate-of-your-own makes one with openssl",
    "sink": "add --sink ADDRESS or --folder FOLDER, not both",
}
FOLDER = "received"
"""Folder that events are written to when neither a sink nor another folder is set."""


@click.command("run")
@state_option
@settings_options(
    ReceiverSettings,
    section=SECTION,
    defaults={"folder": FOLDER, "spool": "receiver/receiver.db in --state", "log_json": "no"},
)
def command(state_dir: Path, **options: Any) -> None:
    """Run a receiver in the foreground, until Ctrl-C.

    Without --sink and --folder, it writes events into the folder `received`: a file of JSON lines for each day, and the
    images. A site is accepted with a token (`eaves receiver token`).
    """
    from eaves.base.allocator import return_freed_memory
    from eaves.http_client.proxies import parse_proxies
    from eaves.receiver.process import serving

    defaults: dict[str, Any] = {"spool": str(receiver_spool(state_dir)), "log_json": False}
    if not (options["sink"] or options["folder"] or _is_set("sink") or _is_set("folder")):
        defaults["folder"] = FOLDER
    with named_by_flag(HINTS, default_origins=("defaults", "settings")):
        settings = build_settings(
            ReceiverSettings, options, SettingsLayer(origin="defaults", values=defaults), section=SECTION
        )
    logs.configure(as_json=settings.log_json)
    return_freed_memory()
    signals = StopSignals()  # a thread that a library started may take a signal, so blocking them here isn't enough
    with _at_free_port(), serving(settings, parse_proxies(os.environ)) as server:
        url = f"{'https' if settings.credentials else 'http'}://{settings.host}:{server.port}"
        click.echo(url)
        say(f"{url} accepts events of the sites in {settings.sites} for {_target(settings)}; Ctrl-C stops it")
        signals.wait()


@contextmanager
def _at_free_port() -> Iterator[None]:
    """Within the block, replace the error about a port that is in use by an error that names the flag `--port`."""
    try:
        yield
    except ConfigError as error:
        if [fault.path for fault in error.faults] != ["port"]:
            raise
        faults = [Fault(origin="--port", path="", message=fault.message) for fault in error.faults]
        raise ConfigError(faults, hint="eaves receiver run --port PORT, with a port that is free") from error


def _is_set(name: str) -> bool:
    """Return whether the environment variable of a receiver setting is set."""
    variables = {leaf.path: leaf.env for leaf in iter_leaves(ReceiverSettings, SECTION)}
    return bool(os.environ.get(variables[f"{SECTION}{name}"]))


def _target(settings: ReceiverSettings) -> str:
    return settings.sink or f"the folder {settings.folder}"
