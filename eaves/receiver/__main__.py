"""Entry point of the receiver, the cloud's end of the link: `python -P -m eaves.receiver`."""

from __future__ import annotations

import os
import signal
from typing import Any

import click

from eaves import logs
from eaves.http_client.proxies import parse_proxies
from eaves.options import build_settings, report_errors, settings_options
from eaves.receiver.process import STOP_SIGNALS, run
from eaves.receiver.settings import ReceiverSettings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(ReceiverSettings)
def main(**options: Any) -> None:
    """Take events of sites over HTTPS and pass them on to a sink, or write them into a folder."""
    # As in an agent, the signals stay pending until `sigwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    settings = build_settings(ReceiverSettings, options)
    logs.configure(as_json=settings.log_json)
    run(settings, parse_proxies(os.environ))


if __name__ == "__main__":
    report_errors(main)
