"""A model before it is published: judged on what its run held out, beside the one that is at the registry."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters import deployment_check
from converters.deployment_check import BEST_FILE, DeployedModel, check_deployment, find_best
from converters.gate import Judgement
from converters.publication_check import Passed, check_publication, tag_roles
from converters.settings import PipelineSettings
from eaves.artifact import Artifact, open_artifact, write_artifact
from eaves.artifact.store import HANDLER, LABELS, file_digest, file_entries, gate_file
from eaves.errors import OciError, RefusedModelError, RunError, SpoolFullError, UndecidedModelError
from eaves.labels import LabelBook
from eaves.local.client import LocalPlatform
from eaves.oci.copy import Overlay, copy_image, open_location
from eaves.oci.layers.image import build_image, load_image
from eaves.oci.layers.layer import write_layer
from eaves.oci.layout import create_layout
from eaves.oci.package import ARTIFACT_LABEL, part_files, split_parts
from eaves.oci.registry.transport import Access
from tests.cli import eaves
from tests.container_images.packaging import build_base
from tests.container_images.registries import LocalRegistry
from trainer.data.splitting import load_split
from trainer.progress import SilentProgress
from trainer.run.run_location import RunLocation, build_location
from trainer.settings import DataSettings

ACCESS = Access(plain_http=True)
EARLIER, LATER = "20200101-000000-00000000", "20990101-000000-00000000"
CREATED = "2019-12-31T23:00:00.000000Z"
"""When labels were reviewed for the younger model."""
LOOSE = PipelineSettings(max_accuracy_drop=40.0)
"""For 16 held-out images, on which two models that never differ are at most 17 points apart."""


def altered(
    artifact: Path, target: Path, *, version: str, swapped: bool = False, half: bool = False, handler: str = ""
) -> Artifact:
    """A copy of an artifact that is another model: of another version, its classes in another order, with a handler.

    Args:
        artifact: The artifact.
        target: New folder.
        version: Version of the copy.
        swapped: Whether all its answers are wrong.
        half: Whether the answers to the last two of its four classes are wrong.
        handler: Text of its handler.py.
    """
    shutil.copytree(artifact, target / "staging", ignore=shutil.ignore_patterns("manifest.json"))
    manifest = open_artifact(artifact).manifest
    labels = manifest.labels[1:] + manifest.labels[:1] if swapped else manifest.labels
    labels = (*labels[:2], labels[3], labels[2]) if half else labels
    (target / "staging" / LABELS).write_text("".join(f"{label}\n" for label in labels))
    if handler:
        (target / "staging" / HANDLER).write_text(handler)
    files = file_entries(target / "staging")
    return write_artifact(
        target / "staging", target / version, replace(manifest, version=version, labels=labels, files=files)
    )


def push(artifact: Artifact, name: str, folder: Path, *, says: str = "") -> None:
    """Put a container image that holds an artifact, and nothing that runs it, at a registry."""
    layout, base = create_layout(folder / "layout"), build_base(folder / "base")
    parts = split_parts(artifact, allow_handler=True)
    layers = [write_layer(layout, part_files(artifact, paths), title) for title, paths in parts.items()]
    labels = {ARTIFACT_LABEL: says or f"sha256:{artifact.digest}"}
    start = {"Entrypoint": ["true"], "Env": {}, "User": "1:1", "Labels": labels}
    made = build_image(layout, load_image(base, base.resolve("base")), layers, start)
    copy_image(Overlay([layout], base), open_location(name, ACCESS).store, made, name=name.rpartition(":")[2])


class Gate:
    """A run with its artifact, and a repository."""

    def __init__(self, run: Path, artifact: Path, repository: str, folder: Path) -> None:
        self.folder, self.repository = folder, repository
        self.place: RunLocation = build_location(run, folder / "work")
        self.data = DataSettings(path=run.parent / "digits")
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir()
        self.path = shutil.copytree(artifact, self.artifacts / open_artifact(artifact).manifest.version)

    def judge(self, settings: PipelineSettings = LOOSE, *, path: Path | None = None, tag: str = "{version}") -> str:
        return "\n".join(self.check(settings, path=path, tag=tag).lines)

    def check(self, settings: PipelineSettings = LOOSE, *, path: Path | None = None, tag: str = "{version}") -> Passed:
        named = f"{self.repository}:{tag}"
        return check_publication(
            path or self.path, self.place, self.data, named, settings, access=ACCESS, progress=SilentProgress()
        )

    def make(self, version: str, **how: Any) -> Artifact:
        return altered(self.path, self.folder / f"made-{version}", version=version, **how)

    def pipeline(self, made: Artifact, settings: PipelineSettings = LOOSE, *, tag: str = "{version}") -> Passed:
        """Check, push and tag a model, as a pipeline does."""
        version, target = made.manifest.version, f"{self.repository}:{tag}"
        passed = self.check(settings, path=made.path, tag=tag)
        push(made, target.replace("{version}", version), self.folder / f"pipeline-{version}")
        assert tag_roles(passed.published, target, version, passed.best, ACCESS) == []
        return passed

    def named(self, tag: str) -> str:
        """Digest of the container image that a tag names."""
        return open_location(f"{self.repository}:{tag}", ACCESS).resolve().digest

    def publish(self, version: str, *, tag: str = "", says: str = "", **how: Any) -> Artifact:
        made = self.make(version, **how)
        push(made, f"{self.repository}:{tag or version}", self.folder / f"push-{version}", says=says)
        return made


@pytest.fixture
def gate(
    registry: LocalRegistry, tiny_run: Path, tiny_artifact: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Gate:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    return Gate(tiny_run, tiny_artifact, f"{registry.host}/{name}", tmp_path)


def test_the_first_model_needs_to_be_good_enough_only(gate: Gate):
    reported = gate.judge()
    assert "on 16 held-out images" in reported
    assert "there is no earlier model here" in reported
    with pytest.raises(RefusedModelError, match=r"pipeline\.floor \(0\.99\)"):
        gate.judge(PipelineSettings(floor=0.99))


def test_a_model_is_compared_with_the_newest_other_one(gate: Gate):
    gate.publish(EARLIER, swapped=True)  # all of its answers are wrong
    gate.publish("20200102-000000-00000000")  # answers the same
    reported = gate.judge()
    assert "the new model is right on 0 that" in reported
    assert "20200102-000000-00000000 answered wrongly, and wrong on 0" in reported
    with pytest.raises(RefusedModelError, match=r"max_accuracy_drop allows 5; .*its run is not beside this one"):
        gate.judge(PipelineSettings())


def night(number: int) -> str:
    return f"202001{number:02d}-000000-00000000"


@pytest.mark.parametrize("tag", ["{version}", "stable"], ids=["version", "stable"])
def test_a_model_is_compared_with_the_best_one_so_far_too(gate: Gate, tag: str):
    """The last one is as bad as the new one; without the best one, a chain could go down for ever."""
    gate.pipeline(gate.make(night(1)), tag=tag)
    best = gate.named(tag.replace("stable", "stable-").replace("{version}", "") + "best")
    gate.publish(night(2), tag="" if tag == "{version}" else tag, half=True)
    worse = gate.make(night(3), half=True)
    with pytest.raises(RefusedModelError, match=r"best answered wrongly, and wrong on 8 that .*best answered rightly"):
        gate.judge(path=worse.path, tag=tag)
    with pytest.raises(RefusedModelError, match="wrong on 8 that") as refused:  # too few images say that of the last
        gate.judge(replace(LOOSE, max_accuracy_drop=5.0), path=worse.path, tag=tag)
    assert not isinstance(refused.value, UndecidedModelError)
    passed = gate.pipeline(gate.make(night(4)), tag=tag)
    assert len(passed.lines) == 4, "the floor, the bytes of an update from the last, the last, the best"
    assert gate.named("best" if tag == "{version}" else "stable-best") == best, "it was not shown to be better"


def test_of_two_pipelines_at_once_the_worse_doesnt_take_the_role_back(gate: Gate):
    gate.pipeline(gate.make(night(1), half=True))
    slow = gate.make(night(3), half=True)
    passed = gate.check(path=slow.path)
    gate.pipeline(gate.make(night(2)))
    better = gate.named("best")
    push(slow, f"{gate.repository}:{night(3)}", gate.folder / "slow")
    assert tag_roles(passed.published, f"{gate.repository}:{{version}}", night(3), passed.best, ACCESS) == []
    assert gate.named("best") == better == gate.named(night(2))


def test_a_model_is_compared_with_the_one_that_serves_after_a_rollback(gate: Gate):
    """The last one was taken back, so that the new one may not be as bad as that."""
    gate.publish(night(1), tag="serving")
    gate.publish(night(2), half=True)
    worse = gate.make(night(3), half=True)
    with pytest.raises(RefusedModelError, match=r"wrong on 8 that .*:serving answered rightly"):
        gate.judge(path=worse.path)
    gate.pipeline(gate.make(night(4)))
    assert gate.named("serving") == gate.named(night(4)), "from here on it is what serves, as far as one knows"


def test_models_that_were_deleted_from_the_registry_are_left_out_and_named(gate: Gate, registry: LocalRegistry):
    gate.pipeline(gate.make(night(1)))
    gate.publish(night(2), half=True)
    place = open_location(f"{gate.repository}:best", ACCESS)
    image = load_image(place.store, place.resolve())
    registry.blob_path(image.layers[-1].digest).unlink()
    passed = gate.check(path=gate.make(night(3), half=True).path)
    assert any("best can't be fetched any more and is left out" in line for line in passed.lines), passed.lines
    assert passed.best is not None
    assert passed.best.name == f"{gate.repository}:{night(2)}"
    registry.blob_path(gate.named(night(2))).unlink()
    passed = gate.check(path=gate.path)
    assert f"{gate.repository}:{night(2)} has no model (any more) and is left out" in passed.lines


def test_what_is_published_already_is_not_judged_again(gate: Gate):
    own = open_artifact(gate.path)
    push(own, f"{gate.repository}:{own.manifest.version}", gate.folder / "own")
    assert "is this model" in gate.judge(PipelineSettings(floor=1.0))


def test_the_images_that_the_model_before_was_trained_on_dont_count(gate: Gate, tiny_run: Path):
    gate.publish(EARLIER)
    runs = gate.folder / "runs"
    shutil.copytree(tiny_run, runs / "new")
    shutil.copytree(tiny_run, runs / "before")
    manifest = json.loads((runs / "before/run.json").read_text())
    (runs / "before/run.json").write_text(json.dumps(manifest | {"version": EARLIER}))
    gate.place = build_location(runs / "new", gate.folder / "work")
    assert "may have been trained on" not in gate.judge()
    lines = [json.loads(line) for line in (runs / "before/split.jsonl").read_text().splitlines()]
    trained = "".join(json.dumps(line | {"split": "train"}) + "\n" for line in lines)
    (runs / "before/split.jsonl").write_text(trained)
    with pytest.raises(RefusedModelError, match="was trained on all their images"):
        gate.judge()


def test_a_container_image_that_holds_another_artifact_than_it_says_is_not_believed(gate: Gate):
    gate.publish(EARLIER, says="sha256:" + "0" * 64)
    with pytest.raises(OciError, match="is not the one that its labels name"):
        gate.judge()


def test_a_handler_out_of_the_registry_is_not_run_unless_it_is_ones_own(gate: Gate):
    marker = gate.folder / "ran"
    gate.publish(EARLIER, handler=f"open({str(marker)!r}, 'w').close()\n")
    with pytest.raises(RefusedModelError, match=r"has another handler\.py, which is not run here"):
        gate.judge()
    assert not marker.exists()


def test_a_deployed_model_is_compared_by_the_same_rule_and_the_answer_is_kept(gate: Gate):
    version = open_artifact(gate.path).manifest.version

    def judge(path: Path, *deployed: Artifact, settings: PipelineSettings = LOOSE) -> str:
        models = [DeployedModel(name="deployed", artifact_digest=one.digest, path=one.path) for one in deployed]
        try:
            check_deployment(
                open_artifact(path), gate.place, gate.data, "digits", models, settings, progress=SilentProgress()
            )
        finally:
            kept = json.loads(gate_file(path).read_text())
        assert kept["artifact"] == open_artifact(path).digest
        assert kept["replaces"] == [one.artifact_digest for one in models]
        assert kept["passed"]
        return "\n".join(kept["lines"])

    assert "there is no earlier model here" in judge(gate.path)
    worse = gate.make(EARLIER, swapped=True)
    assert "the new model is right on 16 that deployed answered wrongly" in judge(gate.path, worse)
    assert "deployed can't be fetched any more" in judge(gate.path, replace(worse, path=Path("/nowhere")))
    assert json.loads(gate_file(gate.path).read_text())["exceeds"] == []
    half = gate.make(LATER, half=True)
    lines = judge(gate.path, half)
    assert "that deployed answered wrongly" in lines
    assert "that the best model so far answered wrongly" in lines, "the first one that served, as none is known better"
    digests = sorted([worse.digest, half.digest])
    assert json.loads(gate_file(gate.path).read_text())["exceeds"] == digests
    size = sum((half.path / name).stat().st_size for name in (LABELS,))
    assert f"an update from deployed ships {size:,} bytes in 1 files; the largest is {LABELS}" in lines
    own = open_artifact(gate.path)
    (best,) = find_best(gate.artifacts, [DeployedModel(name="", artifact_digest=own.digest, path=own.path)])
    assert best.artifact_digest == own.digest
    serving = DeployedModel(name="the best model so far", artifact_digest=half.digest, path=half.path)
    assert find_best(gate.artifacts, [serving]) == [best]
    gone = {"artifact": own.digest, "path": str(gate.artifacts / "gone")}
    kept = (gate.artifacts / BEST_FILE).read_text()
    (gate.artifacts / BEST_FILE).write_text(json.dumps(gone))
    assert find_best(gate.artifacts, [serving]) == [serving]
    (gate.artifacts / BEST_FILE).write_text(kept)
    swapped = gate.make(version, swapped=True)
    with pytest.raises(RefusedModelError, match=r"baseline|always answering"):
        judge(swapped.path, open_artifact(gate.path))
    assert json.loads(gate_file(swapped.path).read_text())["passed"] is False
    halved = gate.make(version.replace(version[-1], "x"), half=True)
    with pytest.raises(RunError, match="is not the run of"):
        check_deployment(halved, gate.place, gate.data, "digits", [], LOOSE, progress=SilentProgress())


def test_new_labels_that_the_others_contradict_more_often_than_earlier_ones_refuse_a_model(gate: Gate, tmp_path: Path):
    folder = shutil.copytree(gate.data.path, tmp_path / "digits")
    book, review = LabelBook(folder), tmp_path / "review.json"
    labelled = [photo.file for photo in book.photos()]
    book.put({file: book.photos()[0].label for file in labelled[:20]}, who="ann")
    gate.data = DataSettings(path=folder)
    old, younger = gate.make(EARLIER), gate.make(LATER)

    loose = replace(LOOSE, max_accuracy_drop=100.0)

    def judge(deployed: Artifact, *doubtful: str, can_doubt: bool = True, settings: PipelineSettings = loose) -> str:
        found = [{"file": file} for file in doubtful] if can_doubt else None
        review.write_text(json.dumps({"disagreements": found, "created": CREATED}))
        models = [DeployedModel(name="deployed", artifact_digest=deployed.digest, path=deployed.path)]
        made = open_artifact(gate.path)
        progress = SilentProgress()
        return "\n".join(
            check_deployment(
                made, gate.place, gate.data, "digits", models, settings, review=review, progress=progress
            ).lines
        )

    few, many = labelled[:1], labelled[:6]
    assert f"contradict 1 of the 20 labels that are new, and 0 of {len(labelled) - 20} earlier" in judge(old, *few)
    assert "contradict" not in judge(younger, *many)  # no label is newer than this model
    with pytest.raises(RefusedModelError, match="contradict 6 of the 20 labels"):
        judge(old, *many)
    known = json.loads(gate_file(gate.path).read_text())
    assert "6 of the 20" in known["lines"][0]
    assert known["reviewed"] == CREATED
    assert known["lacks"] is False
    gate_file(younger.path).write_text(json.dumps({"reviewed": CREATED}))
    with pytest.raises(RefusedModelError, match="contradict 6 of the 20 labels"):
        judge(younger, *many)  # they were given while it was trained
    assert "too hard to predict" in judge(old, can_doubt=False)
    strict = replace(LOOSE, max_accuracy_drop=5.0)
    with pytest.raises(UndecidedModelError):
        judge(old, *few, settings=strict)
    known = json.loads(gate_file(gate.path).read_text())
    assert (known["passed"], known["lacks"]) == (False, True)


def test_labelled_photos_of_the_audit_sample_judge_too_unless_the_model_lacks_their_class(gate: Gate, tmp_path: Path):
    folder = shutil.copytree(gate.data.path, tmp_path / "digits")
    book, held_out = LabelBook(folder), load_split(gate.place.local)
    found = [photo for photo in book.photos() if held_out[file_digest(folder / photo.file)].split == "val"][:3]
    for photo, label in zip(found, (found[0].label, found[1].label, "no such class"), strict=True):
        audited = book.add_photo("photo.png", (folder / photo.file).read_bytes() + b"of another file", audit=True)
        book.put({audited: label}, who="ann")
    gate.data = DataSettings(path=folder)
    reported = gate.judge()
    assert "on 18 held-out images" in reported
    assert "2 labelled photos of the audit sample count as held out" in reported


def test_a_model_that_passed_has_passed_although_the_broker_is_full(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise SpoolFullError("the queue is full")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "eaves.yaml").write_text(f"name: digits\ndata: {{path: '{gate.data.path}'}}\n")
    monkeypatch.setattr(deployment_check, "check_deployment", lambda *_, **__: Judgement(lines=("it is good",)))
    monkeypatch.setattr(LocalPlatform, "publish", refuse)
    result = eaves("gate", gate.path)
    assert (result.exit_code, result.stderr.count("not announced: the queue is full")) == (0, 1), result.output
