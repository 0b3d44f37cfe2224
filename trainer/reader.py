"""Serves the run at PLACE over HTTP: `python -P -m trainer.reader PLACE`.

A short-lived pod runs it beside a volume that no other process can reach. `trainer.run.run_server` answers the
requests, which come through the API server's proxy. Manifests of such pods name this module.
"""

from __future__ import annotations

import os

import click

from eaves import logs
from eaves.options import report_errors, warn_of_variables
from trainer.run.run_server import PORT, TOKEN_VARIABLE, RunServer
from trainer.storage import open_store


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("place")
@click.option("--port", default=PORT, show_default=True, help="TCP port to listen at.")
def main(place: str, port: int) -> None:
    """Serve the run at PLACE, a path or a URI, to clients that have the token in EAVES_READER_TOKEN."""
    logs.configure()
    warn_of_variables()
    token = os.environ.get(TOKEN_VARIABLE, "")
    if len(token) < 16:
        raise click.UsageError(f"{TOKEN_VARIABLE} must hold a token of at least 16 characters")
    with RunServer(("", port), open_store(place), token) as server:
        server.serve_forever()


if __name__ == "__main__":
    report_errors(main)
