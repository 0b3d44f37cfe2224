"""The command `eaves convert`, which makes an artifact from a run or another model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from converters.settings import ConvertSettings
from eaves import logs
from eaves.cli.output import say
from eaves.cli.project import ARTIFACT, ARTIFACTS, RUN, ModelPath, load_workspace, newest, refuse_latest, update_latest
from eaves.cli.site import file_option
from eaves.errors import RunError
from eaves.options import build_settings, given, settings_options


@click.command()
@click.argument("model", type=ModelPath(), required=False)
@click.option(
    "--artifact",
    type=click.Path(path_type=Path),
    help="Directory of the artifact. Default: a new directory in artifacts/.",
)
@click.option(
    "--declare",
    type=click.Path(path_type=Path),
    help="Declaration of a model that Eaves didn't train, such as model.yaml.",
)
@file_option
@settings_options(ConvertSettings, section="convert.")
def command(model: Path | None, artifact: Path | None, declare: Path | None, file: Path, **options: Any) -> None:
    """Convert MODEL to an artifact, prove that outputs are equal, and print the artifact's directory.

    MODEL is a run (the newest, runs/latest, when not given), or with a declaration a SavedModel, a .keras or an .onnx
    file. With MODEL, no eaves.yaml is needed: without the file, settings come from the environment or have their
    defaults. Afterwards artifacts/latest points to the new artifact. A run that was converted with the same settings is
    not converted again.
    """
    flags = {f"convert.{path}": value for path, value in given(ConvertSettings, options).items()}
    if "convert.handler" in flags:
        flags["convert.handler"] = str(Path(flags["convert.handler"]).absolute())  # a flag's is relative to here
    is_named = click.get_current_context().get_parameter_source("file") is not ParameterSource.DEFAULT
    if model is not None and not (is_named or file.exists()):
        settings, artifacts = build_settings(ConvertSettings, options, section="convert."), Path(ARTIFACTS)
    else:
        workspace = load_workspace(file, flags, section="convert.")
        settings, artifacts = workspace.project.convert, workspace.artifacts
        if settings.handler:
            settings = replace(settings, handler=str(workspace.path(Path(settings.handler))))
        model = model or newest(workspace.runs, RUN)
        if model is None:
            raise RunError(f"{workspace.runs} holds no finished run to convert", hint="eaves train")
    place = model.absolute()
    target = artifact or artifacts / (place.stem if place.is_file() else place.name)
    refuse_latest(target, "--artifact")
    _convert(model, target, settings, declare)
    if target.absolute().parent == artifacts.absolute():
        update_latest(artifacts, ARTIFACT)


def _convert(model: Path, target: Path, settings: ConvertSettings, declare: Path | None) -> None:
    """Convert a model, and print what was proven and the artifact's directory."""
    from converters.convert import convert
    from eaves.artifact.manifest import CLASSIFY, TENSOR
    from trainer.progress import build_progress

    logs.configure(as_json=False)
    made = convert(model, target, settings, declaration=declare, progress=build_progress(sys.stderr))
    manifest = made.manifest
    parity = manifest.parity
    if manifest.task == TENSOR:
        say(
            f"parity: on {parity.images} samples, outputs differ from the original model's by at most "
            f"{parity.max_rel_error:.1e} of the largest output"
        )
    else:
        say(
            f"parity: probabilities of the {manifest.precision} model differ from the trained model's by at most "
            f"{parity.max_abs_error_probabilities:.1e}; the label is the same on {parity.top1_agreement:.0%} of "
            f"{parity.images} images"
        )
    say(f"the artifact holds the {manifest.precision} model: {manifest.quantisation.reason}")
    if manifest.task == CLASSIFY:
        if found := manifest.source.samples:
            say(_describe_samples(manifest.source.samples_right, found, len(manifest.labels)))
        say(f"{manifest.name} {manifest.version}: {_describe_quality(model)}")
    click.echo(made.path)


def _describe_samples(right: int, samples: int, labels: int) -> str:
    """Return how many samples get the label of their folder, with advice if that is hardly more than by guessing."""
    text = f"{right} of {samples} samples get the label of their folder"
    if right * labels < 2 * samples:
        text += (
            "; if the model is better than that, its input is declared wrongly: compare `multiply`, `add`, `channels` "
            "and the order of `labels` with its training"
        )
    return text


def _describe_quality(model: Path) -> str:
    """Return what a run says about its model's accuracy; for any other model, return how to measure the accuracy."""
    from trainer.run.run import MANIFEST, open_run

    found = open_run(model).verdict.get("text", "") if (model / MANIFEST).is_file() else ""
    return str(found or "its accuracy is not known; eaves evaluate ARTIFACT DATA measures it on labelled images")
