"""Command `python -m converters`, which converts one model in a conversion Job."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from converters.settings import ConvertSettings
from eaves import logs
from eaves.config import complete as complete_settings
from eaves.options import build_settings, report_errors, settings_options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory that the artifact is written to; it must not exist, unless the same conversion has written it.",
)
@click.option(
    "--declare", type=click.Path(path_type=Path), help="Declaration of a model that is not a run, such as model.yaml."
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    envvar="EAVES_WORK",
    help="Local folder for downloaded images; it can be shared with trainings. Default: .cache beside the run. "
    "[EAVES_WORK]",
)
@click.option(complete_settings.FLAG, "complete", default="", metavar="JSON", help=complete_settings.HELP)
@settings_options(ConvertSettings, section="convert.")
def main(model: Path, output: Path, declare: Path | None, work: Path | None, complete: str, **options: Any) -> None:
    """Convert a run, SavedModel, .keras or .onnx file into an artifact, and prove that it answers the same."""
    from converters.convert import convert
    from trainer.progress import build_progress

    layers = complete_settings.parse_complete(complete, {"convert": ConvertSettings})
    settings = build_settings(ConvertSettings, options, *layers["convert"], section="convert.")
    logs.configure()
    log = logging.getLogger("converters")
    artifact = convert(model, output, settings, declaration=declare, progress=build_progress(sys.stderr), cache=work)
    log.info("%s", artifact.manifest.quantisation.reason)
    log.info("artifact %s, sha256 %s", output, artifact.digest)


if __name__ == "__main__":
    report_errors(main)
