"""Runs a whole training; the command line and a Job call `train`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eaves.artifact.manifest import ANOMALY
from eaves.base.disk_errors import disk_errors
from eaves.errors import ConfigError
from trainer.data.dataset import Dataset, load_dataset
from trainer.data.drawn_defects import draw_defects
from trainer.data.listing import DRAWN, log_not_used
from trainer.data.remote import mirror_file, redact_uri
from trainer.data.splitting import CONFIG, SPLIT_FILE, EarlierSplit, find_earlier, list_runs_on, render_lines
from trainer.lifecycle import Stoppable
from trainer.model.candidates import list_candidates
from trainer.model.checkpoint import Checkpoints
from trainer.model.kept_sums import keep_candidate, load_kept_sums, sum_part
from trainer.model.selector import ModelSelection, select
from trainer.model.sum_parts import PLAN, POLL_S, SumParts
from trainer.progress import SILENT, TrainingProgress
from trainer.run import run_records
from trainer.run.run import MANIFEST, Run, build_name, finish, new_run, render_json
from trainer.run.run_location import FEATURES, RunLocation, build_location
from trainer.settings import DataSettings, TrainSettings, build_config
from trainer.storage import is_uri, open_store
from trainer.tensorflow_notices import import_tensorflow, native_stderr

if TYPE_CHECKING:
    from trainer.model.fit import TrainingTask

_logger = logging.getLogger(__name__)


def train(
    data: DataSettings,
    settings: TrainSettings,
    output: str | Path,
    *,
    name: str | None = None,
    progress: TrainingProgress = SILENT,
    cache: Path | None = None,
    stop: threading.Event | None = None,
) -> Run:
    """Train a model by this process alone, and write a run; see `train_in_parts`."""
    return cast(Run, train_in_parts(data, settings, output, name, progress, cache, stop))


def train_in_parts(
    data: DataSettings,
    settings: TrainSettings,
    output: str | Path,
    name: str | None,
    progress: TrainingProgress,
    cache: Path | None,
    stop: threading.Event | None,
    part: int = 0,
    parts: int = 1,
) -> Run | None:
    """Train a model and write a run; resume a killed training of the same settings and data.

    Several processes may share the images: each calls this with another part. The process of part 0 also trains. The
    others begin when it has decided the split and the network, sum the features of their part, and write no run.

    Args:
        data: Settings that name the images.
        settings: Settings of the training.
        output: Directory or URI of the run; it must not exist yet, be empty, or hold the run of the same training,
            which is then returned.
        name: Name of the model; None means a name made from the output's name.
        progress: Receives the phases of the training and their steps.
        cache: Local folder for reusable files; None means `.cache` beside a local run, else `~/.cache/eaves`.
        stop: `threading.Event`; once it is set, training writes a checkpoint and stops.
        part: Index of the part that this process computes.
        parts: Number of parts.

    Returns:
        run: The run, for a URI its local copy; None for other parts than the first.

    Raises:
        DatasetError: There are no usable images, or the images differ from those of the unfinished run at the output.
        RunError: The output holds something else.
        ConfigError: The weights can't be loaded, the settings differ from those of the unfinished run at the output, or
            they don't allow parts.
        StorageError: A URI or the disk can't be read or written.
        StoppedError: `stop` was set.
    """
    if parts > 1 and settings.resolved_mode != "sums":
        raise ConfigError.single("--parts", "", f"must be 1 for mode {settings.resolved_mode}; only sums are added up")
    if not is_uri(data.path):  # an absolute path, so that a conversion in another folder finds the images
        data = replace(data, path=Path(data.path).absolute())
    stop, place, clock = stop or threading.Event(), build_location(output, cache), run_records.PhaseTimer()
    progress = Stoppable(progress, stop)
    config, shared = build_config(data, settings), place.unfinished()
    shares = SumParts(index=part, number=parts, store=shared, progress=progress) if parts > 1 else None
    if part:
        place = replace(place, cache=place.cache / f"part-{part}")
        if not _wait_for_plan(place, progress, stop):
            return None
    with disk_errors(place.local):
        if settings.weights_kind == "file" and is_uri(settings.weights):
            weights = mirror_file(settings.weights, place.cache / "weights", progress)
            settings = replace(settings, weights=str(weights))
        with clock.phase("hash"):
            dataset = _load(data, settings, config, place, progress)
            identity = run_records.build_identity(data, settings, dataset)
        if not part and (done := place.find(identity.fingerprint)) is not None:
            _logger.info("%s is already trained with the same settings and data", output)
            return done
        with nullcontext(place.cache) if part else new_run(place.local) as work:
            beside = {SPLIT_FILE: render_lines(dataset.split_entries()).encode(), CONFIG: render_json(config)}
            checkpoints = Checkpoints(shared, identity, interval_s=settings.checkpoint_s, stop=stop, beside=beside)
            previous = ""
            if shared.exists(PLAN):
                previous = shared.read(PLAN).decode()
            elif settings.resolved_mode == "sums":
                previous = next((run.uri for run in list_runs_on(place.beside(), config["data"]["path"])), "")
            task = _prepare(dataset, settings, place, work, progress, clock, checkpoints, previous, shares)
            from trainer.model.fit import fit

            if shares is not None:
                if part:
                    sum_part(load_kept_sums(previous), dataset, task.origin, task.compute, shares)
                    return None
                checkpoints.begin()
                shared.write(PLAN, previous.encode())
            with clock.phase("fit"):
                fitted = fit(task)
            about = run_records.write_records(work, name or build_name(place.local.name), task, fitted, config, clock)
            run = finish(work, place.local, about)
        place.finish(run)
        return run


def _wait_for_plan(place: RunLocation, progress: Stoppable, stop: threading.Event) -> bool:
    """Wait until the first pod has decided what the features are computed by; return False when the run exists."""
    with progress.phase("Waiting for the first pod", 1) as step:
        while not (is_planned := place.unfinished().exists(PLAN)) and not place.run().exists(MANIFEST):
            stop.wait(POLL_S)
            step(0)
    return is_planned


def _load(
    data: DataSettings,
    settings: TrainSettings,
    config: Mapping[str, Mapping[str, Any]],
    place: RunLocation,
    progress: TrainingProgress,
) -> Dataset:
    """Load the dataset with the split of an earlier run, if there is one, and log what people should know of it."""
    earlier = EarlierSplit()
    if settings.split != "new":
        earlier = find_earlier(config, run=place.run(), unfinished=place.unfinished(), beside=place.beside())
    dataset = load_dataset(
        data,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
        cache=place.cache,
        known=earlier.known,
        good=settings.good if settings.task == ANOMALY else "",
        progress=progress,
    )
    if not dataset.declared:
        notes = (*([earlier.note] if earlier.note else []), *dataset.notes)
        dataset = replace(dataset, split_of=earlier.origin, notes=notes)
    log_not_used(dataset.faults)
    if dataset.split_of:
        _logger.info("the split of %s is kept, and new images are added to it", redact_uri(dataset.split_of))
    for note in dataset.notes:
        _logger.warning("%s", note)
    return dataset


def _prepare(
    dataset: Dataset,
    settings: TrainSettings,
    place: RunLocation,
    work: Path,
    progress: Stoppable,
    clock: run_records.PhaseTimer,
    checkpoints: Checkpoints,
    previous: str,
    parts: SumParts | None,
) -> TrainingTask:
    """Select what the training begins with, and return its task with a built model."""
    features, identity = open_store(settings.cache or place.cache / FEATURES), checkpoints.identity
    with clock.phase("import_tensorflow"), progress.phase("Loading TensorFlow", 1) as step:
        with native_stderr(), progress.at_once("the import of TensorFlow"):
            import_tensorflow()
            from trainer.model.fit import TrainingTask
            from trainer.model.keras_model import build_extractor, build_model
        step()
    trained = [example.path for example in dataset.on("train")]
    is_anomaly = settings.task == ANOMALY
    if settings.mode == "sums" and previous:
        settings = keep_candidate(settings, previous)
    candidates, reason = list_candidates(settings, trained)
    if reason:
        _logger.info("%s", reason)
    with clock.phase("select"):
        selection = (
            ModelSelection(settings=candidates[0])
            if is_anomaly
            else select(
                candidates,
                dataset,
                features=features,
                unfinished=place.unfinished(),
                fingerprint=f"{identity.fingerprint} {identity.code}",
                progress=progress,
            )
        )
    with clock.phase("build"), native_stderr():
        if is_anomaly:
            model = build_extractor(selection.settings)
        else:
            model = build_model(selection.settings, len(dataset.labels))
    if is_anomaly and not (parts and parts.index) and not any(example.only_judges for example in dataset.examples):
        drawn = draw_defects(dataset.unseen(), selection.settings.recipe(), work / DRAWN)
        dataset = replace(dataset, examples=(*dataset.examples, *drawn))
    return TrainingTask(
        model=model,
        dataset=dataset,
        progress=progress,
        features=features,
        selection=selection,
        checkpoints=checkpoints,
        work=work,
        previous=previous,
        parts=parts,
    )
