"""The command `eaves sources`, which tries a source before images are sent."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli import CommandGroup
from eaves.cli.output import cancelled_by_ctrl_c, output_option, print_value, say
from eaves.cli.site import file_option

if TYPE_CHECKING:
    from eaves.cli.source_trial import TriedSource
    from eaves.sources.trial.trial import SourceTrial


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
    from eaves.cli.source_trial import find_refusal, find_tried_source, save_image
    from eaves.cli.source_trial_view import build_value, print_trial

    tried = find_tried_source(source, file, credentials=credentials)
    with cancelled_by_ctrl_c(f"stopped: {tried.configured.common.name} was not tried to the end; nothing was sent"):
        trial = _try(tried, timeout)
    saved = save_image(trial, tried.configured.settings, save)
    refusal = find_refusal(trial.event, tried.function) if trial.event else ""
    if form == "table":
        whose = "a function with the default limits" if tried.by_default else "the function"
        print_trial(trial, saved, whose=whose, refusal=refusal, max_bytes=tried.function.max_body_bytes)
    else:
        print_value(build_value(trial, saved, refusal), form)
    if trial.failure is not None:
        raise trial.failure.to_error()


def _try(tried: TriedSource, timeout_s: float) -> SourceTrial:
    """Try the source, and once more as a camera when its address answers with a stream."""
    from eaves.http_client.proxies import parse_proxies
    from eaves.sources.trial.failures import STREAM_ANSWER
    from eaves.sources.trial.trial import try_source

    report = say if sys.stderr.isatty() else lambda _: None
    proxies = parse_proxies(os.environ)
    attempt = partial(try_source, site=tried.site, proxies=proxies, timeout_s=timeout_s, report=report)
    trial = attempt(tried.configured)
    if tried.as_camera is None or trial.failure is None or STREAM_ANSWER not in trial.failure.message:
        return trial
    say(f"{trial.place} is a stream, so it is tried as a source of the kind camera")
    return attempt(tried.as_camera)
