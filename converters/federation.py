"""Makes one artifact of the sums of many sites: the merged head, the sites' judgements of it, the gate, the artifact.

All of it is read from the folder of a receiver, which `trainer.federation.merging` describes. Each step may be
repeated, also after a kill: the same files give the same head and the same artifact. A site that is offline is late:
the gate decides as soon as the judgements of the others are enough evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.gate import check_floor, check_replacement
from converters.merged_model import JudgedHead, weigh_anomalies, weigh_head
from converters.onnx.graph import BACKBONE, WEIGHTS
from converters.settings import NEVER, PipelineSettings
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.manifest import NORMAL
from eaves.base.disk_errors import disk_errors
from eaves.base.files import remove_durably, write_atomically
from eaves.base.locks import locked
from eaves.errors import ArtifactError, RefusedModelError, RunError, UndecidedModelError
from eaves.federation_events import FOLDER, HEAD, name_head
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import AnomalyJudgement, HeadJudgement, SiteJudgement
from trainer.federation.merging import (
    JUDGEMENTS,
    Merging,
    find_superseded,
    load_forgotten,
    merge_sites,
    newest_by_site,
    read_file,
    solve_head,
)
from trainer.run.model_quality import count_images

_BACKBONE, _VERSION = f"{WEIGHTS}/{BACKBONE}", f"{'?' * 8}-{'?' * 6}-{'?' * 8}"
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedModel:
    """What the sites' files give at present.

    Attributes:
        judged: Sites that have judged the head.
        head: Digest of the merged head; empty while there are too few images for one.
        artifact: The artifact; None while the evidence doesn't suffice.
        exceeded: Digest of the artifact that serves at all sites that judged, if the new one is shown to be better;
            else empty.
    """

    judged: tuple[str, ...] = ()
    head: str = ""
    artifact: Artifact | None = None
    exceeded: str = ""


def collect(
    folder: Path,
    base: Artifact,
    output: Path,
    settings: PipelineSettings,
    *,
    renames: Mapping[str, str],
    without: Collection[str] = (),
    false_alarms: float = 0.05,
    say: Say,
) -> CollectedModel:
    """Merge what sites have sent, and make an artifact when their judgements suffice.

    Args:
        folder: Folder of the receiver.
        base: Artifact with whose backbone the sums were made.
        output: Folder of artifacts, which gets one with the name of its version.
        settings: Requirements of the gate.
        renames: Name of a class at sites to the one that it counts as.
        without: Classes of the base that the artifact may lack.
        false_alarms: Largest share of good images that may raise an alarm, for a base of the task `anomaly`.
        say: Receives what a person should know, a line at a time.

    Raises:
        RefusedModelError: The merged head is not good enough.
        EavesError: The base can't be used, or the folder can't be read.
    """
    name = base.manifest.name
    if not name_head(name):
        raise RunError(f"{name!r} can't be the name of a model of many sites", hint="train it with another --name")
    place, features = folder / FOLDER / name, ArtifactFeatures(base)
    if not place.is_dir():  # one that this user makes may not be the receiver's to write to
        say(f"waiting: no site has sent anything to {place}")
        return CollectedModel()
    with disk_errors(place), locked(place.parent, folder=True):  # no site is forgotten meanwhile
        made, shape = _find_made(base, output), features.point.shape
        labels = tuple(dict.fromkeys(label for artifact in (base, *made) for label in artifact.manifest.labels))
        labels = (NORMAL,) if features.rule else labels
        merging = merge_sites(place, features.origin, shape, labels, renames, is_diagonal=features.is_diagonal)
        for line in merging.lines:
            say(line)
        for label in merging.missing:
            say(f"no site has images of the class {label!r}: the new model will not know it")
        for superseded, site in find_superseded(place).items():
            if site not in merging.left_out:  # a person may delete the file that can't be used
                superseded.unlink(missing_ok=True)  # the next collection completes what a kill stops
        content, file = render_head(merging, features), place / HEAD
        if not content:
            remove_durably(file)  # its sites may have been forgotten
            say(f"waiting: there are no images{'' if features.rule else ' of two classes'} yet")
            return CollectedModel()
        if not file.is_file() or file.read_bytes() != content:
            write_atomically(file, content, mode=None)
        return _make(content, merging, place, features, output, settings, without, false_alarms, say)


def render_head(merging: Merging, features: ArtifactFeatures) -> bytes:
    """Return the content of the file that sites judge; empty while there are too few images for one."""
    if merging.sums is None:
        return b""
    if features.rule:
        return merging.sums.to_bytes(np.float32, is_diagonal=features.is_diagonal)
    if len(merging.sums.labels) < 2:
        return b""
    return solve_head(merging.sums, features.point.shape[1]).to_bytes()


def _find_made(base: Artifact, output: Path) -> list[Artifact]:
    """Return the newest artifact that was made of this base before; its further classes are known, too."""
    for path in sorted(output.glob(_VERSION), reverse=True):
        with suppress(ArtifactError):  # a folder of something else
            artifact = open_artifact(path)
            if artifact.manifest.files.get(_BACKBONE) == base.manifest.files[_BACKBONE]:
                return [artifact]
    return []


def _make(
    content: bytes, merging: Merging, place: Path, base: ArtifactFeatures, output: Path, settings: PipelineSettings,
    without: Collection[str], false_alarms: float, say: Say,
) -> CollectedModel:  # fmt: skip
    digest = hashlib.sha256(content).hexdigest()
    kind, labels = (
        (AnomalyJudgement, base.labels) if base.rule else (HeadJudgement, MergedHead.from_bytes(content, HEAD).labels)
    )
    found = load_judgements(place, digest, labels, kind, say)
    judgements: list[Any] = [*found.values()]
    lacking = sorted(merging.sites.keys() - found.keys())
    late = f"; not yet by {', '.join(lacking)}" if lacking else ""
    images, sites = sum(merging.sites.values()), len(merging.sites)
    known = f"the head {digest[:12]} of {count_images(images, images)} at {sites} site{'' if sites == 1 else 's'}"
    say(f"{known} is judged by {', '.join(found) or 'no site'}{late}")
    same = (open_artifact(target) for target in output.glob(f"{'?' * 15}-{digest[:8]}"))
    artifact = next((one for one in same if one.manifest.source.digest == digest), None)
    made = CollectedModel(judged=tuple(found), head=digest, artifact=artifact)
    try:
        if lost := [label for label in merging.missing if label not in without]:
            raise UndecidedModelError(f"the new model would not know {', '.join(map(repr, lost))}; a site may be late")
        if not judgements:
            raise UndecidedModelError("no site has judged this head yet")
        weigh = partial(weigh_anomalies, rule=base.rule, false_alarms=false_alarms) if base.rule else weigh_head
        head = weigh(base, content, judgements)
        if artifact is None:
            _check(head, lacking, settings, say)
    except UndecidedModelError as error:
        if artifact is None:
            say(f"waiting: {error.message.removeprefix('the model is refused: ')}")
            if error.hint:
                say(f"to end the waiting: {error.hint}")
        return made
    except RefusedModelError as error:
        hint = "add images at the sites, correct their labels, or lower the requirement; the head is kept"
        raise RefusedModelError(error.message, hint=hint) from error
    if artifact is None:
        artifact = head.build(output / _name_version(digest, merging.time_ms, base.artifact, output))
    is_better = head.pairing.interval[0] > 0 and not head.unmeasured
    return replace(made, artifact=artifact, exceeded=head.serving if is_better else "")


def load_judgements(
    place: Path, head: str, labels: tuple[str, ...], kind: type[SiteJudgement], say: Say
) -> dict[str, SiteJudgement]:
    """Return the newest judgement of each site that is of this head, in order of the sites' names.

    Args:
        place: Folder of the model.
        head: Digest of the head's file.
        labels: Names of its classes.
        kind: Kind of the judgements.
        say: Receives a line for each file that can't be used.
    """
    files, found = newest_by_site(place / JUDGEMENTS, load_forgotten(place.parent)), {}
    for site, path in files.items():
        try:
            judgement = kind.from_json(read_file(path), path.name)
            if judgement.head != head:
                continue
            if judgement.labels != labels:
                raise RunError(f"{path.name} is no judgement of the head that it names")
            found[site] = judgement
        except RunError as error:
            say(f"the judgement of {site} is left out: {error.message}")
    return found


def _check(head: JudgedHead, lacking: Sequence[str], settings: PipelineSettings, say: Say) -> None:
    """Check whether a head is good enough, by the sites' judgements of it.

    Args:
        head: The head.
        lacking: Sites whose images are in the head, and that have not judged it yet.
        settings: Requirements; without a floor for classes, none needs a held-out image.
        say: Receives the figures by which it passes.

    Raises:
        RefusedModelError: It isn't; an UndecidedModelError when that may be for lack of evidence.
    """
    figure, rule, unmeasured = head.figure, head.rule, head.unmeasured
    if unmeasured:
        line = f"nothing is known about {', '.join(unmeasured)}, of which no site that judged holds out an image"
        if rule is None and lacking and (settings.class_floor or len(figure["classes"]) < 2):
            raise UndecidedModelError(line)
        say(line)
    if rule is not None:
        say(rule.promise())
        if unmeasured:  # the threshold gives good images the promised alarms, whatever served
            return
    say(check_floor(figure, settings))
    if head.unknown:
        say(f"{count_images(head.unknown, head.unknown, 'held-out')} of other classes don't count")
    if settings.max_accuracy_drop >= NEVER:
        say("the model is not compared: pipeline.max_accuracy_drop turns the comparison off")
    else:
        say(check_replacement(head.pairing, "the model that serves at the site", settings))


def _name_version(head: str, time_ms: int, base: Artifact, output: Path) -> str:
    """Return the version of a head: its digest, and the time of its newest sums, but after all earlier versions."""
    form, made = "%Y%m%d-%H%M%S", datetime.fromtimestamp(time_ms // 1000, UTC)
    for name in (base.manifest.version, *(path.name for path in output.glob(_VERSION))):
        with suppress(ValueError):  # the name of another folder
            made = max(made, datetime.strptime(name[:15], form).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{made.strftime(form)}-{head[:8]}"
