"""The command `eaves sources`, which tries a source before images are sent."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli import CommandGroup
from eaves.cli.output import output_option, print_value
from eaves.cli.site import file_option


@click.group(cls=CommandGroup)
def command() -> None:
    """Try a source: connect to it, take one image, and show what would be sent."""


@command.command("try")
@click.argument("source", metavar="NAME|URL")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    help="Credentials of the source: folder with the files username and password, or tls.crt and tls.key, and ca.crt.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the image, which is replaced if it exists. Default: a new file NAME.jpg in the current folder; an "
    "image that is in a folder or archive already isn't copied.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 600),
    metavar="SECONDS",
    default=20.0,
    show_default=True,
    help="Time limit of the whole trial.",
)
@output_option
@file_option
def try_(source: str, credentials: Path | None, save: Path | None, timeout: float, form: str, file: Path) -> None:
    """Connect to a source, take one image, and show what would be sent. Nothing is sent.

    NAME is a source in eaves.yaml. A URL needs no eaves.yaml: rtsp, rtmp, http, mqtt://BROKER/TOPIC, s3, or the path of
    a folder, an archive, a video or its device. A mapping as under `sources:` works too.

    When there is no image, the command shows which step failed and what to do. It exits with status 69 when the source
    can't be reached or sends no image, 77 when it refuses the login, and 66 when there is no such stream.
    """
    from eaves.cli.source_trial import build_value, find_tried_source, print_trial, run_trial, save_image

    configured, site = find_tried_source(source, file, credentials=credentials)
    trial = run_trial(configured, site, timeout)
    saved = save_image(trial, configured.settings, save)
    if form == "table":
        print_trial(trial, saved)
    else:
        print_value(build_value(trial, saved), form)
    if trial.failure is not None:
        raise trial.failure.error
