"""Checks whether a model may be deployed on this machine: `eaves gate`.

It is compared with the model that serves and with the best one that has served here, and its new labels with the
earlier ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from converters.gate import Judgement, check_model
from converters.settings import PipelineSettings
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.store import gate_file
from eaves.base.files import write_atomically
from eaves.dataset_folder import is_audit
from eaves.errors import (
    EavesError,
    OciNotFoundError,
    RefusedModelError,
    RunError,
    UndecidedModelError,
)
from eaves.labels import NOT_USABLE, LabelBook
from trainer.labelling import check_new_labels
from trainer.progress import TrainingProgress
from trainer.run.run import open_run
from trainer.run.run_location import RunLocation
from trainer.settings import DataSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedModel:
    """A model that is deployed on this machine.

    Attributes:
        name: Name of the model for people.
        artifact_digest: sha256 of the artifact, hex.
        path: Directory of the artifact.
    """

    name: str
    artifact_digest: str
    path: Path

    def artifact(self, work: Path) -> AbstractContextManager[Artifact]:
        """Open the artifact.

        Raises:
            OciNotFoundError: The directory doesn't exist any more.
        """
        if not self.path.is_dir():
            raise OciNotFoundError(f"there is no {self.path}")
        return nullcontext(open_artifact(self.path))


def check_deployment(
    artifact: Artifact, place: RunLocation, data: DataSettings, function: str,
    deployed: Sequence[DeployedModel], settings: PipelineSettings, *, review: Path | None = None,
    progress: TrainingProgress,
) -> Judgement:  # fmt: skip
    """Check whether a model is good enough to be deployed, and store the answer beside its artifact.

    Args:
        artifact: The model.
        place: Location of its run.
        data: Settings that name the run's images.
        function: Name of the function that would serve it.
        deployed: The model that the function serves, if it serves one.
        settings: Settings with the requirements.
        review: File with a review of the labels; None: the labels are not checked.
        progress: Receives one step for each image.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice; this answer is stored, too.
        EavesError: The images, the run or the deployed model can't be read.
    """
    if open_run(place.local).version != artifact.manifest.version:
        raise RunError(f"{place.local} is not the run of {artifact.path}", hint="eaves convert")

    def store(lines: Sequence[str], *, exceeds: Collection[str] = (), **answer: bool) -> None:
        replaces = [one.artifact_digest for one in deployed]
        known = {"function": function, "artifact": artifact.digest, "replaces": replaces, "exceeds": sorted(exceeds)}
        for found in _read_values(review, "created") if review else ():
            known["reviewed"] = found["created"]
        write_atomically(gate_file(artifact.path), json.dumps({**answer, "lines": lines, **known}), mode=None)

    best = find_best(artifact.path.parent, deployed)
    serving = {one.artifact_digest for one in deployed}
    references = [*deployed, *(one for one in best if one.artifact_digest not in serving)]
    try:
        line = _check_labels(review, Path(data.path), deployed) if review and deployed else ""
        answer = check_model(artifact, place, data, references, settings, progress=progress)
    except RefusedModelError as error:
        lines = [error.message, *filter(None, [error.hint])]
        store(lines, passed=False, lacks=isinstance(error, UndecidedModelError))
        raise
    answer = replace(answer, lines=(*filter(None, [line]), *answer.lines))
    store(
        answer.lines,
        passed=True,
        exceeds=answer.exceeded if answer.is_compared else [one.artifact_digest for one in references],
    )
    return answer


def _check_labels(review: Path, folder: Path, deployed: Sequence[DeployedModel]) -> str:
    """Check the labels given since those of the model that serves were read; the line is empty where that isn't known.

    That is when its own gate's review was made. A model without one was trained at the time that its version names.
    """
    try:
        version = open_artifact(deployed[0].path).manifest.version
        since = datetime.strptime(version[:15], "%Y%m%d-%H%M%S").isoformat()  # noqa: DTZ007 - UTC, as in labels
        found, photos = json.loads(review.read_bytes()), LabelBook(folder).photos()
    except (EavesError, OSError, ValueError):
        return ""
    labels = [one for one in photos if one.label not in ("", NOT_USABLE) and not is_audit(one.file)]
    for known in _read_values(gate_file(deployed[0].path), "reviewed"):  # a training may take hours
        since = known["reviewed"]
    return check_new_labels(found, labels, since)


BEST_FILE = "best.json"
"""File beside the artifacts that names the best model that has served on this machine."""


def find_best(artifacts: Path, deployed: Sequence[DeployedModel]) -> list[DeployedModel]:
    """Return the best model that has served on this machine so far; empty before one has.

    A model becomes the best one when it serves, and the gate has shown that it is better than the best one before. So a
    chain of models that each lose less than is allowed ends here as it does in a registry.

    Args:
        artifacts: Folder of the artifacts.
        deployed: The model that serves, if one does.
    """
    best = [
        DeployedModel(name="the best model so far", artifact_digest=values["artifact"], path=Path(values["path"]))
        for values in _read_values(artifacts / BEST_FILE, "artifact", "path")
        if Path(values["path"]).is_dir()  # else the one that serves is the best that is left
    ]
    for one in deployed:
        exceeded = [digest for found in _read_values(gate_file(one.path), "exceeds") for digest in found["exceeds"]]
        if not best or best[0].artifact_digest in exceeded:
            best = [replace(one, name="the best model so far")]
            known = {"artifact": one.artifact_digest, "path": str(one.path.absolute())}
            write_atomically(artifacts / BEST_FILE, json.dumps(known), mode=None)
    return best


def _read_values(path: Path, *names: str) -> list[dict[str, Any]]:
    """Return the object in a JSON file, if it can be read and has these members; else an empty list."""
    with suppress(OSError, ValueError):
        values = json.loads(path.read_bytes())
        if isinstance(values, dict) and set(names) <= values.keys():
            return [values]
    return []
