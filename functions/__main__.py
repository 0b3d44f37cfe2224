"""`python -P -m functions`: one function process, the command of its container image."""

from __future__ import annotations

import os
from typing import Any

import click

from eaves import logs
from eaves.options import build_settings, report_errors, settings_options
from functions.model import Model
from functions.settings import FunctionSettings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options(FunctionSettings)
def main(**options: Any) -> None:
    """Serve one artifact over HTTP: images and CloudEvents in, predictions out."""
    settings = build_settings(FunctionSettings, options)
    logs.configure(as_json=settings.log_json)
    model = Model(settings)
    model.start()
    # Flask is imported while the model loads in its thread.
    from functions.app import create_app
    from functions.quota import usable_cpus
    from functions.server import Server

    concurrency = settings.concurrency or usable_cpus()
    app = create_app(model, settings, concurrency=concurrency)
    Server(app, settings, concurrency=concurrency, on_stop=model.drain).run()


if __name__ == "__main__":
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # numpy here only copies; its pool of threads costs start and memory
    report_errors(main)
