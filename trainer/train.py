"""Runs a whole training; the command line and a Job call `train`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.base.disk_errors import disk_errors
from trainer.data.dataset import Dataset, load_dataset
from trainer.data.listing import log_not_used
from trainer.data.remote import mirror_file, redact_uri
from trainer.data.splitting import CONFIG, SPLIT_FILE, EarlierSplit, find_earlier, render_lines
from trainer.lifecycle import Stoppable
from trainer.model.candidates import list_candidates
from trainer.model.checkpoint import Checkpoints
from trainer.model.selector import select
from trainer.progress import SILENT, TrainingProgress
from trainer.run import run_records
from trainer.run.run import Run, build_name, finish, new_run, render_json
from trainer.run.run_location import FEATURES, RunLocation, build_location
from trainer.settings import DataSettings, TrainSettings, build_config
from trainer.storage import is_uri, open_store
from trainer.tensorflow_notices import native_stderr

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
    """Train a model and write a run; resume a killed training of the same settings and data.

    Args:
        data: Settings that name the images.
        settings: Settings of the training.
        output: Directory or URI of the run; it must not exist yet, be empty, or hold the run of the same training,
            which is then returned.
        name: Name of the model; None means a name made from the output's name.
        progress: Receives the phases of the training and their steps.
        cache: Local folder for reusable files; None means `.cache` beside a local run, else `~/.cache/eaves`.
        stop: `threading.Event`; once it is set, training writes a checkpoint and stops.

    Returns:
        run: The run; for a URI, its local copy.

    Raises:
        DatasetError: There are no usable images, or the images differ from those of the unfinished run at the output.
        RunError: The output holds something else.
        ConfigError: The weights can't be loaded, or the settings differ from those of the unfinished run at the output.
        StorageError: A URI or the disk can't be read or written.
        StoppedError: `stop` was set.
    """
    if not is_uri(data.path):  # an absolute path, so that a conversion in another folder finds the images
        data = replace(data, path=Path(data.path).absolute())
    stop, place, clock = stop or threading.Event(), build_location(output, cache), run_records.PhaseTimer()
    progress = Stoppable(progress, stop)
    config = build_config(data, settings)
    with disk_errors(place.local):
        if settings.weights_kind == "file" and is_uri(settings.weights):
            weights = mirror_file(settings.weights, place.cache / "weights", progress)
            settings = replace(settings, weights=str(weights))
        with clock.phase("hash"):
            dataset = _load(data, settings, config, place, progress)
            identity = run_records.build_identity(data, settings, dataset)
        if (done := place.find(identity.fingerprint)) is not None:
            _logger.info("%s is already trained with the same settings and data", output)
            return done
        with new_run(place.local) as work:
            beside = {SPLIT_FILE: render_lines(dataset.split_entries()).encode(), CONFIG: render_json(config)}
            checkpoints = Checkpoints(
                place.unfinished(), identity, interval_s=settings.checkpoint_s, stop=stop, beside=beside
            )
            task = _prepare(dataset, settings, place, work, progress, clock, checkpoints)
            from trainer.model.fit import fit

            with clock.phase("fit"):
                fitted = fit(task)
            about = run_records.write_records(work, name or build_name(place.local.name), task, fitted, config, clock)
            run = finish(work, place.local, about)
        place.finish(run)
        return run


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
) -> TrainingTask:
    """Select what the training begins with, and return its task with a built model."""
    features, identity = open_store(settings.cache or place.cache / FEATURES), checkpoints.identity
    with clock.phase("import_tensorflow"), native_stderr(), progress.at_once("the import of TensorFlow"):
        from trainer.model.fit import TrainingTask
        from trainer.model.keras_model import build_model
    trained = [example.path for example in dataset.on("train")]
    candidates, reason = list_candidates(settings, trained)
    if reason:
        _logger.info("%s", reason)
    with clock.phase("select"):
        selection = select(
            candidates,
            dataset,
            features=features,
            unfinished=place.unfinished(),
            fingerprint=f"{identity.fingerprint} {identity.code}",
            progress=progress,
        )
    with clock.phase("build"), native_stderr():
        model = build_model(selection.settings, len(dataset.labels))
    return TrainingTask(
        model=model,
        dataset=dataset,
        progress=progress,
        features=features,
        selection=selection,
        checkpoints=checkpoints,
        work=work,
    )
