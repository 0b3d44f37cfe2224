"""The commands `eaves evaluate` and `eaves compare`, which measure one or two models on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.base.statistics import round_outward
from eaves.cli.labelled_data import build_bars, find_image_cache, find_labelled_data
from eaves.cli.latest import ModelPath, find_latest
from eaves.cli.output import output_option, print_rows, print_sentence, print_value, say

if TYPE_CHECKING:
    from converters.evaluation.images import LabelledImages
    from converters.evaluation.metrics import Evaluation, Pairing

COLUMNS = {
    "label": "CLASS",
    "images": "IMAGES",
    "recall": "RECALL (95 %)",
    "precision": "PRECISION (95 %)",
    "taken_for": "TAKEN FOR",
}
Command = TypeVar("Command", bound=Callable[..., Any])


def _options(command: Command) -> Command:
    """Add the options that `_measure` takes."""
    held_out_of = click.option(
        "--held-out-of",
        type=ModelPath(exists=True, file_okay=False),
        help="Run whose training images are left out. The training images of a model that is a run are always left "
        "out.",
    )
    token_file = click.option(
        "--token-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with the token that is sent to a URL, such as that of `eaves up --host`.",
    )
    return held_out_of(token_file(output_option(command)))


@click.command()
@click.argument("model")
@click.argument("data")
@_options
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="End with exit code 1 when the lower end of the model's 95 % interval is below this, 0 to 1.",
)
@click.pass_context
def evaluate(context: click.Context, /, model: str, data: str, min_accuracy: float | None, **options: Any) -> None:
    """Measure the accuracy of a model on the labelled images in DATA.

    MODEL is the directory of a run or of an artifact, or the URL of a running function, such as
    http://127.0.0.1:8480/functions/NAME.

    DATA is a path or URI of a folder with one subfolder of images per class, a manifest (.csv) or an archive.
    In a folder with the subfolders train and val, only the images in val are used.
    """
    (evaluation,) = _measure((model,), data, **options)
    if min_accuracy is not None and evaluation.interval[0] < min_accuracy:
        say(f"the lower end of the accuracy is below --min-accuracy {min_accuracy}")
        context.exit(1)


@click.command()
@click.argument("first")
@click.argument("second")
@click.argument("data")
@_options
def compare(first: str, second: str, data: str, **options: Any) -> None:
    """Compare the models FIRST and SECOND on the labelled images in DATA.

    Each is the directory of a run or of an artifact, or the URL of a running function. Images that a run was trained
    on, and copies of them, are left out. DATA is what `eaves evaluate` takes.
    """
    _measure((first, second), data, **options)


def _measure(
    models: Sequence[str], data: str, *, held_out_of: Path | None, token_file: Path | None, form: str
) -> tuple[Evaluation, ...]:
    """Measure one or two models on the same images, and print what was found."""
    from converters.evaluation.images import load_unseen_images
    from converters.evaluation.metrics import evaluate, pair
    from converters.evaluation.models import describe_proof, open_model
    from eaves.credentials.folder import read_authorization
    from eaves.delivery.sender import SinkClient
    from eaves.http_client.proxies import parse_proxies
    from trainer.tensorflow_notices import prepare_tensorflow

    places = [model if "://" in model else str(find_latest(Path(model))) for model in models]
    prepare_tensorflow()
    progress = build_bars()
    path, faults = find_labelled_data(data, progress)
    with SinkClient(connections=1, proxies=parse_proxies(os.environ)) as client:
        opened = [open_model(place, client, read_authorization(token_file)) for place in places]
        found = load_unseen_images(path, opened, held_out_of, faults, cache=find_image_cache(), progress=progress)
        evaluations = tuple(evaluate(model, found, progress) for model in opened)
    pairing, proof = pair(*evaluations) if len(evaluations) == 2 else None, describe_proof(opened)
    if form == "table":
        _print(found, evaluations, pairing)
        if proof:
            print_sentence(proof)
    else:
        value = {
            "models": [evaluation.to_dict() for evaluation in evaluations],
            "pairing": pairing.to_dict() if pairing else None,
            "proof": proof,
            "trained_on_left_out": found.trained_on,
            "copies_left_out": found.copies,
            "trained_on_notes": list(found.notes),
            "not_used": [{"file": fault.file, "reason": fault.reason} for fault in found.faults],
        }
        print_value(value, form)
    return evaluations


def _print(found: LabelledImages, evaluations: tuple[Evaluation, ...], pairing: Pairing | None) -> None:
    from converters.evaluation.images import describe_left_out
    from trainer.data.listing import render_not_used

    if found.trained_on:
        say(f"{found.trained_on} images are left out, because a model was trained on them")
    for line in (*describe_left_out(found), *render_not_used(found.faults)):
        say(line)
    for evaluation in evaluations:
        _print_model(evaluation)
    if pairing:
        low, high = round_outward(pairing.interval, 3)
        print_sentence(
            f"the second model's {pairing.figure} differs by {pairing.difference * 100:+.1f} points "
            f"({low * 100:+.1f} to {high * 100:+.1f} with 95 % confidence)"
        )
        both = pairing.count(first=True, second=True)
        print_sentence(
            f"of {pairing.images} images, both models are right on {both}, only the first on {pairing.lost}, only the "
            f"second on {pairing.gained}"
        )
        print_sentence(f"the models' labels differ on {len(pairing.differing)} images")
    for number, evaluation in enumerate(evaluations, 1):
        print_sentence(f"{f'MODEL {number}: ' if pairing else ''}{evaluation.quality.text}")


def _print_model(evaluation: Evaluation) -> None:
    from trainer.evaluation.model_quality import count_images

    (low, high), times = round_outward(evaluation.interval, 3), evaluation.times_ms()
    measured, figure = evaluation.measured, evaluation.measured["figure"]
    print_sentence(f"{evaluation.kind} {evaluation.name}")
    print_sentence(
        f"{figure['name']} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on "
        f"{count_images(figure['images'], figure['groups'])}"
    )
    print_sentence(
        f"calibration error {evaluation.calibration_error:.3f}; time for one image: median "
        f"{times['median']:.1f} ms, 95 % within {times['p95']:.1f} ms"
    )
    if evaluation.refused:
        first = evaluation.refused[0]
        say(f"{len(evaluation.refused)} images can't be read, such as {first.file}: {first.reason}")
    rows = []
    for number, (label, figures) in enumerate(measured["per_class"].items()):
        pairs = zip(measured["confusion"][number], measured["labels"], strict=True)
        count, other = max((pair for pair in pairs if pair[1] != label), default=(0, ""))
        row = {"label": label, "images": figures["images"], "taken_for": f"{other} ({count})" if count else ""}
        for name in ("recall", "precision"):
            share, interval = figures[name], figures[f"{name}_interval_95"]
            low, high = round_outward((interval[0], interval[1]), 2)
            row[name] = "" if share is None else f"{share:.2f} ({low:.2f}-{high:.2f})"  # None: there were no images
        rows.append(row)
    print_rows(rows, COLUMNS, "table")
