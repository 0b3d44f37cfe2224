"""`python -m trainer --path FOLDER --output RUN`: train a model; what a training Job's container starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from eaves import logs
from eaves.errors import ConfigError, Fault
from eaves.options import build_settings, report_errors, settings_options
from trainer.progress import build_progress
from trainer.quiet import quieten
from trainer.settings import DataSettings, TrainSettings
from trainer.train import ENVIRONMENT, train


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@settings_options(DataSettings, section="data.")
@settings_options(TrainSettings, section="train.")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Directory of the run; new or empty."
)
@click.option("--name", help="Name of the model; by default the output's.")
def main(output: Path, name: str | None, **parameters: Any) -> None:
    """Train a model on a folder of images per class and leave a run in OUTPUT."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    logs.configure()
    quieten()
    run = train(*_settings(parameters), output, name=name, progress=build_progress(sys.stderr))
    low, high = run.metrics()["val_accuracy_interval_95"]
    click.echo(f"{run.path}: {run.name} {run.version}, val accuracy {run.val_accuracy:.3f} ({low:.3f} to {high:.3f})")


def _settings(parameters: dict[str, Any]) -> tuple[DataSettings, TrainSettings]:
    """Both sections, or the faults of both together."""
    faults: list[Fault] = []
    built: list[Any] = []
    for cls, section in ((DataSettings, "data."), (TrainSettings, "train.")):
        try:
            built.append(build_settings(cls, parameters, section=section))
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults, hint="see python -m trainer --help")
    return built[0], built[1]


if __name__ == "__main__":
    report_errors(main)
