"""Sites with photos of good parts and some scratches make one model that finds scratches."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from converters.federation import CollectedModel, collect
from converters.settings import PipelineSettings
from eaves.artifact import Artifact, check, load_golden, open_artifact
from eaves.artifact.manifest import MAP, PATCHES
from eaves.cli.commands.federate import command
from eaves.errors import ArtifactError, RefusedModelError
from eaves.events import Event
from eaves.federation_events import name_file, name_head
from eaves.inference.session import open_session
from tests.inputs.artifacts import copy_artifact
from tests.inputs.parts import write_parts
from tests.once import build_once_here
from trainer.data.listing import LabelledImage
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.judgement import AnomalyJudgement, judge_anomalies
from trainer.federation.site_sums import FederatedSite, ReleaseSettings, load_site_images
from trainer.model.anomaly import Gaussian, set_threshold
from trainer.model.feature_sums import FeatureSums, build_projection

Array = npt.NDArray[Any]
SITES = {"berlin": 3, "lyon": 4, "turin": 6}
"""Each site and the seed of its photos."""
GOOD, HELD_OUT, SCRATCHED = 16, 24, 16
PROMISED = 0.1
"""Share of false alarms that the base promises; 29 groups of good photos are enough."""


def write_sites(root: Path) -> Path:
    """Write the photos of all sites, whose folders say which photos are held out."""
    for site, seed in SITES.items():
        write_parts(root / site / "train", GOOD, seed=seed, classes=("ok",))
        write_parts(root / site / "val", HELD_OUT, seed=10 + seed, classes=("ok",))
        write_parts(root / site / "val", SCRATCHED, seed=10 + seed, classes=("scratch",))
    return root


@dataclass
class Federation:
    """A receiver's folder, and sites that send to it at once."""

    root: Path
    photos: Path
    base: Artifact
    lines: list[str] = field(default_factory=list)

    @cached_property
    def features(self) -> ArtifactFeatures:
        return ArtifactFeatures(self.base)

    def receive(self, event: Event) -> None:
        path = self.root / "received" / name_file(event)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(event.data)

    def fetch(self, name: str, known: str) -> bytes | None:
        path = self.root / "received" / name_head(name)
        content = path.read_bytes() if path.exists() else b""
        return content if content and hashlib.sha256(content).hexdigest() != known else None

    def run_sites(self, features: int = 0) -> None:
        for site in SITES:
            FederatedSite(
                features=self.features,
                images=self.photos / site,
                state=self.root / "state",
                settings=ReleaseSettings(site=site, minimum=5, features=features),
                send=self.receive,
                say=self.lines.append,
            ).run(self.fetch)

    def collect(self) -> CollectedModel:
        self.lines.clear()
        place = self.root / "received"
        options: dict[str, Any] = {"renames": {}, "false_alarms": PROMISED, "say": self.lines.append}
        return collect(place, self.base, self.root / "out", PipelineSettings(), **options)

    def judge(self, **groups: list[float]) -> None:
        """Replace all judgements by one: `good_alarmed` are scores of good groups that the serving model alarms on."""
        folder = self.root / "received/federation/parts"
        shutil.rmtree(folder / "judgements", ignore_errors=True)
        (folder / "judgements").mkdir()
        parts = [
            judge_scores(scores, name.startswith("scratched"), name.endswith("alarmed"))
            for name, scores in groups.items()
        ]
        head = hashlib.sha256((folder / "head.npz").read_bytes()).hexdigest()
        whole = replace(parts[0], head=head)
        for part in parts[1:]:
            whole = whole.merge(part)
        content = whole.to_json()
        name = f"judgements/berlin-1-{hashlib.sha256(content).hexdigest()[:16]}.json"
        (folder / name).write_bytes(content)


def judge_scores(scores: list[float], scratched: bool, alarmed: bool) -> AnomalyJudgement:
    truth, names = (
        ["anomalous" if scratched else "normal"] * len(scores),
        [str(number) for number in range(len(scores))],
    )
    return judge_anomalies("", np.array(scores), np.full(len(scores), int(alarmed)), truth, names, "serving")


@pytest.fixture
def sites(inspection: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    base = open_artifact(copy_artifact(inspection, tmp_path / "base", version="20260101-000000-00000000"))
    assert base.manifest.anomaly is not None
    return Federation(root=tmp_path, photos=build_once_here(tmp_path_factory, "parts-of-sites", write_sites), base=base)


def compute_scores(sites: Federation, images: Sequence[LabelledImage], size: int) -> Array:
    """Return the map of each image by a fit to the photos of all sites at once, with NumPy alone."""
    features, shape = sites.features, sites.features.point.shape
    matrix = build_projection(shape[1], size) if size else np.eye(shape[1])
    summed = [image.path for site in SITES for image in load_site_images(sites.photos / site, {}, "ok").summed]
    rows, others = (
        features.compute(features.recipe.tensor(path.read_bytes()) for path in paths)[0].reshape(-1, *shape) @ matrix
        for paths in (summed, [image.path for image in images])
    )
    pooled = FeatureSums.of(rows, np.zeros(len(rows), np.int64), ("normal",))
    return Gaussian.fit(pooled, full=not features.is_diagonal).score(others)


@pytest.mark.long("two artifacts are trained and converted, each once on a machine")
@pytest.mark.parametrize("size", [0, 64])
def test_the_artifact_of_three_sites_is_that_of_all_their_photos_and_passes_the_gate(sites: Federation, size: int):
    if sites.features.is_diagonal and size:
        words = [
            "--artifact",
            sites.base.path,
            "--images",
            sites.photos / "lyon",
            "--site",
            "lyon",
            "--relay",
            "http://x",
        ]
        result = CliRunner().invoke(command, ["site", *map(str, words), "--features", str(size)])
        assert "whose sums are small already" in str(result.exception)
        return
    sites.run_sites(size)
    assert sites.collect().artifact is None
    assert sites.lines[-1] == "waiting: no site has judged this head yet"
    sites.judge(good=[10.0] * 28)
    assert sites.collect().artifact is None
    assert sites.lines[-1].startswith("waiting: 29 held-out images of good parts")
    sites.run_sites(size)
    made = sites.collect()
    assert made.artifact is not None, sites.lines
    artifact = open_artifact(made.artifact.path, level="full")
    answer, known = open_session(artifact).answer, sites.base.manifest.files
    assert check(artifact, answer) == len(load_golden(artifact))
    assert {name for name, one in artifact.manifest.files.items() if one != known.get(name)} == {
        "weights/head.bin",
        "golden/golden.json",
    }
    images = [image for site in SITES for image in load_site_images(sites.photos / site, {}, "ok").held_out]
    wanted = compute_scores(sites, images, size)
    found = answer(np.stack([sites.base.manifest.image_recipe.tensor(image.path.read_bytes()) for image in images]))
    np.testing.assert_allclose(found[MAP].reshape(wanted.shape), wanted, rtol=1e-4)
    good = np.array([image.label == "normal" for image in images])
    groups = [image.group_name for image in images if image.label == "normal"]
    options: dict[str, Any] = {"false_alarms": PROMISED, "unseen": True, "good": "ok", "method": "gaussian"}
    rule, exact = artifact.manifest.anomaly, set_threshold(wanted.max(axis=1)[good], groups, **options)
    assert rule is not None
    assert (rule.false_alarms, rule.groups) == (exact.false_alarms, exact.groups)
    assert exact.threshold <= rule.threshold <= exact.threshold * 1.0101
    is_found = found["logits"].argmax(axis=1) == 1
    assert (is_found == (wanted.max(axis=1) > rule.threshold)).all()
    assert is_found[~good].mean() > 0.9
    assert len(list((sites.root / "received").rglob("sums/*"))) == len(SITES)


def test_without_defects_only_false_alarms_are_known(sites: Federation):
    """So no model is shown to be better, and one whose scores say nothing is refused."""
    sites.run_sites()
    sites.collect()
    for scores in ([0.1] * 300, [1e7] * 300):
        sites.judge(good=scores)
        with pytest.raises(RefusedModelError, match="the sums of a site are wrong"):
            sites.collect()
    sites.judge(good=[10.0, 20.0] * 30, good_alarmed=[10.0] * 60)
    made = sites.collect()
    assert (made.artifact is not None, made.exceeded) == (True, ""), sites.lines
    assert "nothing is known about anomalous, of which no site that judged holds out an image" in sites.lines
    assert sites.collect().exceeded == "", "the artifact is there"


def test_a_model_that_misses_what_the_serving_one_finds_is_refused(sites: Federation):
    sites.run_sites()
    sites.collect()
    good = [10.0, 20.0] * 30
    sites.judge(good=good, scratched_alarmed=[20.001] * 20 + [90.0] * 40)
    with pytest.raises(RefusedModelError, match="wrong on 20 that the model that serves at the site answered rightly"):
        sites.collect()
    sites.judge(good=good, scratched=[90.0] * 60)
    assert [sites.collect().exceeded for _ in range(2)] == ["serving"] * 2, "a killed command forgets nothing"


def test_patches_do_not_add_up(inspection: Path, tmp_path: Path):
    artifact = open_artifact(copy_artifact(inspection, tmp_path / "base", version="20260101-000000-00000000"))
    assert artifact.manifest.anomaly is not None
    rule = replace(artifact.manifest.anomaly, method=PATCHES)
    with pytest.raises(ArtifactError, match="don't add up"):
        ArtifactFeatures(replace(artifact, manifest=replace(artifact.manifest, anomaly=rule)))
