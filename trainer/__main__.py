"""Command `python -m trainer --path FOLDER --output RUN`, which trains a model in a training Job's container."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.config import complete as complete_settings
from eaves.errors import ConfigError
from eaves.options import build_settings, report_errors, settings_options
from trainer.lifecycle import stop_on_signals
from trainer.progress import build_progress
from trainer.run.run import build_name
from trainer.settings import DataSettings, TrainSettings
from trainer.tensorflow_notices import prepare_tensorflow
from trainer.train import train_in_parts
from trainer.training_event import check_allowed, read_event

SECTIONS = {"data": DataSettings, "train": TrainSettings}
BY_EVENT = ("data.path",)
"""Settings that are left out of `--complete` when it is parsed, because the event of the Job sets them."""

_logger = logging.getLogger("trainer")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@settings_options(DataSettings, section="data.")
@settings_options(TrainSettings, section="train.")
@click.option(
    "--output",
    "-o",
    required=True,
    help="Directory or URI that the run is written to. It must be new or empty, or hold an unfinished or "
    "complete run of the same settings and data.",
)
@click.option("--name", help="Name of the model. Default: the last part of --output.")
@click.option(
    "--event",
    "folder",
    envvar="K_EVENT_PATH",
    type=click.Path(path_type=Path),
    help="Folder with a `dataset.updated` event, as JobSink mounts it. The event names the data, and the run is "
    "written to OUTPUT/IDENTITY, where IDENTITY is the same for every repeat of the event. [K_EVENT_PATH]",
)
@click.option(
    "--work",
    envvar="EAVES_WORK",
    type=click.Path(path_type=Path),
    help="Local folder for downloads, and for building a run that is uploaded to a URI; it may be removed at any "
    "time. Default: .cache beside a local run, ~/.cache/eaves for a run at a URI. [EAVES_WORK]",
)
@click.option(
    "--parts",
    default=1,
    help="Number of pods of a Job that share the images of mode sums or task anomaly, each with another --part.",
)
@click.option(
    "--part",
    default=0,
    envvar="JOB_COMPLETION_INDEX",
    help="Part of --parts that this pod computes; the pod of part 0 also trains. [JOB_COMPLETION_INDEX]",
)
@click.option(complete_settings.FLAG, "complete", default="", metavar="JSON", help=complete_settings.HELP)
def main(
    output: str, work: Path | None, name: str | None, folder: Path | None, parts: int, part: int, complete: str,
    **parameters: Any,
) -> None:  # fmt: skip
    """Train a model on labelled images and leave a run in OUTPUT."""
    prepare_tensorflow()
    logs.configure()
    layers = complete_settings.parse_complete(complete, SECTIONS, without=BY_EVENT)
    event = read_event(folder) if folder else None
    if event:
        if parameters["path"] is not None:
            message = f"the event names the data, but --path {parameters['path']} names data too"
            hint = "leave out --event or --path (the variable K_EVENT_PATH also sets --event)"
            raise ConfigError.single("--event", "", message, hint=hint)
        parameters["path"] = event.dataset
    data = build_settings(DataSettings, parameters, *layers["data"], section="data.")
    settings = build_settings(TrainSettings, parameters, *layers["train"], section="train.")
    if event:
        check_allowed(event.dataset, data.allowed_prefixes)
        name, output = name or build_name(Path(output).name), event.output(output)
    progress = build_progress(sys.stderr)
    with stop_on_signals() as stop:
        run = train_in_parts(data, settings, output, name, progress, work, stop, part if parts > 1 else 0, parts)
    if run is None:  # the process of part 0 writes it
        return
    _logger.info("%s", run.verdict["text"], extra={"verdict": run.verdict})
    click.echo(f"{output}: {run.name} {run.version}")


if __name__ == "__main__":
    report_errors(main)
