"""Measures models on labelled images and prints what was found: `eaves evaluate` and `eaves compare`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.base.statistics import round_outward
from eaves.cli.display.output import output_option, print_rows, print_sentence, print_value, say
from eaves.cli.labelled_data import (
    build_bars,
    find_image_cache,
    find_labelled_data,
    page_option,
    prepare_tensorflow,
)
from eaves.cli.latest import ModelPath, find_latest

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


def evaluation_options(command: Command) -> Command:
    """Add the options that `evaluate_models` takes."""
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
    page = page_option("HTML page to write, with the figures and mistakes.")
    return held_out_of(token_file(page(output_option(command))))


def evaluate_models(
    models: Sequence[str], data: str, *, held_out_of: Path | None, token_file: Path | None, page: Path | None, form: str
) -> tuple[Evaluation, ...]:
    """Measure one or two models on the same images, print what was found, and write the page.

    Args:
        models: Path or URL of each model, as a user writes it.
        data: Path or URI of the labelled images.
        held_out_of: Run whose training images are left out; None for none.
        token_file: File with the token that is sent to each URL; None for none.
        page: HTML page to write; None for none.
        form: Form of the output, such as `table`.
    """
    places = [model if "://" in model else str(find_latest(Path(model))) for model in models]
    found, evaluations = _evaluate(places, data, held_out_of, token_file)

    from converters.evaluation.metrics import pair

    pairing = pair(*evaluations) if len(evaluations) == 2 else None
    if page is not None:
        from converters.report_page import build_evaluation_page
        from trainer.report.html_page import write_page

        write_page(page, build_evaluation_page(found, evaluations, pairing))
    if form == "table":
        _print(found, evaluations, pairing)
    else:
        print_value(_plain(found, evaluations, pairing), form)
    if page is not None:
        say(f"page: {page}")
    return evaluations


def _evaluate(
    places: Sequence[str], data: str, held_out_of: Path | None, token_file: Path | None
) -> tuple[LabelledImages, tuple[Evaluation, ...]]:
    from converters.evaluation.images import load_unseen_images
    from converters.evaluation.metrics import evaluate
    from converters.evaluation.models import open_model
    from eaves.credentials.folder import read_authorization
    from eaves.delivery.client import SinkClient
    from eaves.http_client.proxies import parse_proxies

    prepare_tensorflow()
    progress = build_bars()
    path, faults = find_labelled_data(data, progress)
    with SinkClient(connections=1, proxies=parse_proxies(os.environ)) as client:
        models = [open_model(place, client, read_authorization(token_file)) for place in places]
        found = load_unseen_images(path, models, held_out_of, faults, cache=find_image_cache(), progress=progress)
        return found, tuple(evaluate(model, found, progress) for model in models)


def _plain(found: LabelledImages, evaluations: tuple[Evaluation, ...], pairing: Pairing | None) -> dict[str, Any]:
    return {
        "models": [evaluation.to_dict() for evaluation in evaluations],
        "pairing": pairing.to_dict() if pairing else None,
        "trained_on_left_out": found.trained_on,
        "copies_left_out": found.copies,
        "trained_on_notes": list(found.notes),
        "not_used": [{"file": fault.file, "reason": fault.reason} for fault in found.faults],
    }


def _print(found: LabelledImages, evaluations: tuple[Evaluation, ...], pairing: Pairing | None) -> None:
    from converters.evaluation.images import describe_left_out
    from trainer.data.listing import render_not_used
    from trainer.evaluation.model_quality import count_images

    if found.trained_on:
        say(f"{found.trained_on} images are left out, because a model was trained on them")
    for line in (*describe_left_out(found), *render_not_used(found.faults)):
        say(line)
    for evaluation in evaluations:
        (low, high), times = round_outward(evaluation.interval, 3), evaluation.times_ms()
        figure = evaluation.measured["figure"]
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
        print_rows(_classes(evaluation), COLUMNS, "table")
    if pairing:
        low, high = round_outward(pairing.interval, 3)
        print_sentence(
            f"the second model's {pairing.figure} differs by {pairing.difference * 100:+.1f} points "
            f"({low * 100:+.1f} to {high * 100:+.1f} with 95 % confidence)"
        )
        print_sentence(
            f"of {pairing.images} images, both models are right on {pairing.both_right}, only the first on "
            f"{pairing.lost}, only the second on {pairing.gained}"
        )
        print_sentence(
            f"exact McNemar p = {pairing.p_value:.2g}; the models' labels differ on {len(pairing.differing)} images"
        )
    for number, evaluation in enumerate(evaluations, 1):
        which = f"MODEL {number}: " if pairing else ""
        print_sentence(f"{which}{evaluation.quality.text}")


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    measured, rows = evaluation.measured, []
    for number, (label, figures) in enumerate(measured["per_class"].items()):
        wrong = [(count, other) for other, count in zip(measured["labels"], measured["confusion"][number], strict=True)]
        count, other = max((pair for pair in wrong if pair[1] != label), default=(0, ""))
        rows.append(
            {
                "label": label,
                "images": figures["images"],
                "recall": _share(figures["recall"], figures["recall_interval_95"]),
                "precision": _share(figures["precision"], figures["precision_interval_95"]),
                "taken_for": f"{other} ({count})" if count else "",
            }
        )
    return rows


def _share(share: float | None, interval: list[float]) -> str:
    """Return a share and its 95 % interval as short text, `0.93 (0.88-0.96)`; empty when there were no images."""
    low, high = round_outward((interval[0], interval[1]), 2)
    return "" if share is None else f"{share:.2f} ({low:.2f}-{high:.2f})"
