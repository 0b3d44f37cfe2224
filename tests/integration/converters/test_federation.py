"""Sums and judgements of sites in a receiver's folder become an artifact, or the reason why not yet."""

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from converters.federation import CollectedModel, collect
from converters.merged_model import fit_temperature, summarize_judged_odds
from converters.settings import PipelineSettings
from eaves.artifact import Artifact, check, open_artifact
from eaves.errors import RefusedModelError
from eaves.inference.session import open_session
from tests.cli import run_eaves
from tests.container_images.packaging import build_base
from tests.container_images.registries import LocalRegistry
from tests.inputs.artifacts import split_artifact
from trainer.calibration import likelihoods, prior_correction
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import HeadJudgement, judge
from trainer.federation.merging import forget_site
from trainer.model.feature_sums import FeatureSums

LABELS = ("0", "1", "2", "3")
NOW = 1_790_000_000_000


@dataclass
class Federation:
    """A receiver's folder, to which sites with features of images around one centre for each class write."""

    folder: Path
    base: Artifact
    lines: list[str] = field(default_factory=list)

    @cached_property
    def features(self) -> ArtifactFeatures:
        return ArtifactFeatures(self.base)

    @property
    def size(self) -> int:
        return int(self.features.golden.shape[1])

    @property
    def head(self) -> MergedHead:
        file = self.folder / "federation/digits/head.npz"
        return MergedHead.from_bytes(file.read_bytes(), file.name)

    def draw(self, count: int, seed: int, classes: Sequence[int] = range(4)) -> tuple[npt.NDArray[Any], Any]:
        rng = np.random.default_rng(seed)
        truth = rng.choice(classes, count)
        centres = np.random.default_rng(99).normal(size=(9, self.size))
        return (centres[truth] + 3.5 * rng.normal(size=(count, self.size))).astype(np.float32), truth

    def write(self, kind: str, site: str, content: bytes, suffix: str, sequence: int) -> None:
        name = f"{site}-{NOW + sequence}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        path = self.folder / "federation/digits" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def send_sums(
        self,
        site: str,
        seed: int,
        *,
        labels: Sequence[str] = LABELS,
        sequence: int = 0,
        wrong: bool = False,
        **drawn: Any,
    ) -> None:
        features, truth = self.draw(400, seed, **drawn)
        truth = np.random.default_rng(seed).permutation(truth) if wrong else truth
        sums = self.start_sums(labels).add(features, truth, groups=400)
        self.write("sums", site, sums.to_bytes(np.float32), ".npz", sequence)

    def start_sums(self, labels: Sequence[str]) -> FeatureSums:
        return FeatureSums.empty(labels, self.features.origin, self.features.golden[:1].astype(np.float64))

    def judge(self, site: str, seed: int, images: int = 200, *, served: float = 0.8, **further: Any) -> HeadJudgement:
        """Judge the head on further images, of which the serving model is right about a share."""
        features, truth = self.draw(images, 1000 + seed, **further)
        is_right = np.random.default_rng(seed).random(images) < served
        scores = np.eye(4)[np.where(is_right, truth, (truth + 1) % 4)]
        names = [LABELS[number] for number in truth]
        return judge(self.head, self.head.digest, features, scores, LABELS, names, "serving")

    def send_judgement(self, site: str, seed: int, *, sequence: int = 0, **further: Any) -> None:
        self.write("judgements", site, self.judge(site, seed, **further).to_json(), ".json", sequence)

    def collect(self, output: str = "artifacts", **options: Any) -> CollectedModel:
        settings = PipelineSettings(**options.pop("settings", {}))
        self.lines.clear()
        place = self.folder / output
        return collect(self.folder, self.base, place, settings, **{"renames": {}, "say": self.lines.append, **options})

    def list_files(self) -> dict[str, bytes]:
        places = (self.folder / "artifacts", self.folder / "federation")
        files = (path for place in places for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def sites(tiny_artifact: Path, tmp_path: Path) -> Federation:
    """Three sites that have sent sums."""
    base = open_artifact(split_artifact(tiny_artifact, tmp_path / "base"))
    made = Federation(folder=tmp_path / "receiver", base=base)
    for seed, site in enumerate(("berlin", "lyon", "turin")):
        made.send_sums(site, seed)
    return made


def test_the_gate_decides_though_a_site_is_late_and_what_is_made_stays(sites: Federation):
    first = sites.collect()
    assert (first.artifact, first.judged) == (None, ())
    assert "is judged by no site; not yet by berlin, lyon, turin" in sites.lines[-2]
    for seed, site in enumerate(("berlin", "lyon")):
        sites.send_judgement(site, seed)
    made = sites.collect()
    assert made.artifact is not None
    assert made.judged == ("berlin", "lyon")
    assert "of 1,200 images at 3 sites is judged by berlin, lyon; not yet by turin" in sites.lines[0]
    assert any("is judged by berlin, lyon; not yet by turin" in line for line in sites.lines)
    artifact = open_artifact(made.artifact.path, level="full")
    assert check(artifact, open_session(artifact).answer) == 4
    manifest = artifact.manifest
    assert manifest.version == f"20260921-141320-{made.head[:8]}"
    assert manifest.source.digest == made.head == sites.head.digest
    assert [scores.groups > 10 for scores in manifest.label_scores] == [True] * 4
    known = sites.base.manifest.files
    assert {"weights/backbone.bin", "golden/000.png"} <= {name for name in known if manifest.files[name] == known[name]}
    before = sites.list_files()
    sites.send_judgement("turin", 5)
    again = sites.collect()
    assert again.artifact is not None
    assert again.artifact.digest == artifact.digest
    assert {name: content for name, content in sites.list_files().items() if "turin" not in name} == {
        name: content for name, content in before.items() if "turin" not in name
    }


def test_a_collection_before_the_first_file_makes_no_folder_that_the_receiver_can_not_write(sites: Federation):
    early = replace(sites, folder=sites.folder.with_name("early"), lines=list[str]())
    assert early.collect().artifact is None
    assert "no site has sent" in early.lines[0]
    assert not early.folder.exists()


def test_a_changed_head_waits_for_judgements_of_its_own_and_gets_a_later_version(sites: Federation):
    sites.collect()
    sites.send_judgement("berlin", 0)
    first = sites.collect()
    sites.send_sums("oslo", 7, sequence=-5000)  # late
    assert sites.collect().artifact is None
    assert "is judged by no site" in sites.lines[-2]
    sites.send_judgement("berlin", 0, sequence=1)
    second = sites.collect()
    assert first.artifact is not None
    assert second.artifact is not None
    assert second.artifact.manifest.version > first.artifact.manifest.version
    forget_site(sites.folder / "federation", "oslo")
    third = sites.collect()
    assert (third.head, third.artifact and third.artifact.digest) == (first.head, first.artifact.digest)


def test_a_worse_head_is_refused_and_too_little_evidence_waits(sites: Federation):
    sites.collect()
    sites.send_judgement("berlin", 0, images=8)
    assert sites.collect().artifact is None
    assert sites.lines[-1] == "waiting: at least 10 held-out images or groups of images are needed"
    assert len(list(sites.folder.rglob("sums/berlin-*"))) == 1
    sites.send_judgement("berlin", 0, images=30, served=0.9, sequence=1)
    assert sites.collect().artifact is None
    assert sites.lines[-2].startswith("waiting: of 30 held-out images")
    assert sites.lines[-1].startswith("to end the waiting: hold out about")
    with pytest.raises(RefusedModelError, match=r"must reach pipeline\.floor \(0\.99\)"):
        sites.collect(settings={"floor": 0.99})
    sites.send_sums("berlin", 0, wrong=True, sequence=2)
    sites.send_sums("lyon", 1, wrong=True, sequence=2)
    sites.collect()
    sites.send_judgement("berlin", 0, served=1.0, sequence=3)
    with pytest.raises(RefusedModelError, match="the model that serves at the site answered rightly"):
        sites.collect()
    assert not (sites.folder / "artifacts").exists()


def test_older_sums_stay_while_the_newest_can_not_be_used(sites: Federation):
    sites.write("sums", "berlin", b"damaged", ".npz", 2)
    sites.send_sums("lyon", 1, sequence=2)
    sites.collect()
    assert any(line.startswith("berlin is left out: ") for line in sites.lines)
    assert [len(list(sites.folder.rglob(f"sums/{site}-*"))) for site in ("berlin", "lyon")] == [2, 1]


def test_images_of_one_class_make_no_head(sites: Federation):
    shutil.rmtree(sites.folder / "federation/digits/sums")
    sites.send_sums("berlin", 0, classes=[1])
    assert sites.collect().head == ""
    assert sites.lines[-1] == "waiting: there are no images of two classes yet"


def test_a_better_head_passes_and_says_so(sites: Federation):
    sites.collect()
    sites.send_judgement("berlin", 0, served=0.5)
    assert sites.collect().exceeded == "serving"


def test_a_class_is_lost_only_when_a_person_says_so(sites: Federation):
    for site in ("berlin", "lyon", "turin"):
        sites.send_sums(site, 3, sequence=1, classes=(0, 1, 2))
    sites.collect()
    sites.send_judgement("berlin", 0, classes=(0, 1, 2))
    assert sites.collect().artifact is None
    assert sites.lines[-1] == "waiting: the new model would not know '3'; a site may be late"
    assert "no site has images of the class '3'" in sites.lines[0]
    made = sites.collect(without=("3",))
    assert made.artifact is not None
    assert made.artifact.manifest.labels == ("0", "1", "2")


def test_a_class_that_one_site_has_becomes_one_of_the_model(sites: Federation):
    """When somebody has judged it, or nobody is late who may."""
    sites.send_sums("oslo", 8, labels=(*LABELS, "4"), classes=range(5))
    sites.collect()
    sites.send_judgement("berlin", 0)
    assert sites.collect().artifact is None
    assert "nothing is known about 4, of which no site that judged holds out an image" in sites.lines[-1]
    for seed, site in enumerate(("lyon", "turin", "oslo")):
        sites.send_judgement(site, seed)
    made = sites.collect()
    assert made.artifact is not None
    assert made.artifact.manifest.labels == (*LABELS, "4")
    assert open_artifact(made.artifact.path, level="full").manifest.decision.label_weights
    forget_site(sites.folder / "federation", "oslo")
    sites.collect()
    assert sites.lines[-1] == "waiting: the new model would not know '4'; a site may be late"


def test_the_artifact_answers_real_images_of_all_sites_classes(sites: Federation, tmp_path: Path):
    """Sums of digits through the artifact's own recipe and backbone; only one site has the digit 4.

    The settings of the gate are the defaults, and the sites' own model is what the new one is compared with.
    """
    digits, labels = load_digits(n_class=5), (*LABELS, "4")
    images = [tmp_path / f"{number}.png" for number in range(len(digits.images))]
    for pixels, path in zip(digits.images, images, strict=True):
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
    tensors = [sites.features.recipe.tensor(path.read_bytes()) for path in images]
    features, logits = sites.features.compute(tensors)
    held_out = np.arange(len(features)) % 5 == 0
    for site, known in {"berlin": (0, 1), "lyon": (2, 3), "turin": (1, 2, 4)}.items():
        rows = np.isin(digits.target, known) & ~held_out
        sums = sites.start_sums(labels).add(features[rows], digits.target[rows], groups=int(rows.sum()))
        sites.write("sums", site, sums.to_bytes(np.float32), ".npz", 1)
    sites.collect()
    names = [labels[number] for number in digits.target]
    for site, rows in (("berlin", held_out & (digits.target < 3)), ("turin", held_out & (digits.target >= 3))):
        truth = [name for name, row in zip(names, rows, strict=True) if row]
        found = judge(
            sites.head,
            sites.head.digest,
            features[rows],
            logits[rows],
            LABELS,
            truth,
            "s",
        )
        sites.write("judgements", site, found.to_json(), ".json", 0)
    made = sites.collect()
    assert made.artifact is not None, sites.lines
    assert "it loses at most" in sites.lines[-1]
    answer, rule = open_session(made.artifact).answer, made.artifact.manifest.decision
    answers = rule.choose(answer(np.stack(tensors)[held_out])["probabilities"])
    assert np.mean(answers == digits.target[held_out]) > 0.9
    assert np.mean(answers[digits.target[held_out] == 4] == 4) > 0.9


def test_hostile_judgements_are_left_out_with_a_line(sites: Federation):
    sites.collect()
    good = sites.judge("berlin", 0)
    sites.write("judgements", "berlin", good.to_json(), ".json", 0)
    big = {name: getattr(good, name) * 10**4 for name in ("confusion", "odds", "compared")}
    hostile = {
        "lyon": replace(good, labels=("a", "b", "c", "d")).to_json(),
        "turin": replace(good, **big).to_json(),
        "oslo": b'{"format":1}',
        "rome": good.to_json().replace(b'"losses":[', b'"losses":[NaN,'),
        "bonn": replace(good, compared=good.compared + 10**6).to_json(),
    }
    for site, content in hostile.items():
        sites.write("judgements", site, content, ".json", 0)
    made = sites.collect()
    assert made.judged == ("berlin",)
    assert made.artifact is not None
    for site in hostile:
        assert any(f"the judgement of {site} is left out" in line for line in sites.lines), site


@pytest.mark.long("a process for each write of a collection")
def test_a_collection_that_is_killed_before_any_write_gives_the_same_when_repeated(sites: Federation):
    sites.collect()
    sites.send_judgement("berlin", 0)
    (sites.folder / "federation/digits/head.npz").unlink()
    undisturbed = replace(sites, folder=sites.folder.with_name("undisturbed"))
    undisturbed.folder.mkdir()
    (undisturbed.folder / "federation").symlink_to(sites.folder / "federation")
    undisturbed.collect()
    expected = {name: content for name, content in undisturbed.list_files().items() if name.startswith("artifacts")}
    (sites.folder / "federation/digits/head.npz").unlink()
    sites.send_sums("berlin", 9, sequence=-5000)  # a newer file supersedes it
    kills = 0
    while kill_at_write(sites, kills) == 9:
        kills += 1
    assert kills > 15
    sites.collect()
    assert len(list((sites.folder / "federation/digits/sums").iterdir())) == 3
    assert {name: content for name, content in sites.list_files().items() if name.startswith("artifacts")} == expected


def kill_at_write(sites: Federation, number: int) -> int:
    """Collect in a process that ends before its write of this number; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [number]

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.copyfile")
        if writes or (event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(count)
    try:
        sites.collect()
    finally:
        os._exit(0)


def test_temperature_and_scores_follow_from_sums(sites: Federation):
    sites.collect()
    judgement, (features, truth) = sites.judge("berlin", 0, images=2000), sites.draw(2000, 1000)
    logits, bias = sites.head.head(features.astype(np.float64)), prior_correction(sites.head.label_weights)
    found = fit_temperature(judgement)
    for other in (found / 1.2, found * 1.2):
        assert likelihoods(logits, truth, found, bias).mean() <= likelihoods(logits, truth, other, bias).mean()
    assert fit_temperature(sites.judge("berlin", 0, images=49)) == 1.0
    scores = summarize_judged_odds(judgement, 1.0)
    answers = logits.argmax(axis=1)
    own = logits[answers == 2]
    odds = own.max(axis=1) - np.log(np.exp(own).sum(axis=1) - np.exp(own.max(axis=1)))
    assert scores[2].edges[3] == pytest.approx(np.median(odds), abs=0.5)
    assert np.diff(scores[2].edges).min() > 0


def test_the_command_publishes_once_what_passes(
    sites: Federation, registry: LocalRegistry, oci_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(oci_cache))
    build_base(sites.folder.with_name("python"))
    output = sites.folder / "artifacts"
    words: list[str | Path] = ["--folder", sites.folder, "--artifact", sites.base.path, "--output", output]
    words += ["--to", f"{registry.host}/federated:{{version}}", "--base", f"oci:{sites.folder.with_name('python')}"]
    done = run_eaves("federate", "collect", *words, "--plain-http", "--rename", "0=zero")
    assert done.stdout == ""
    assert "the class '0' (" in done.stderr
    run_eaves("federate", "collect", *words, "--plain-http")
    sites.send_judgement("berlin", 0)
    done = run_eaves("federate", "collect", *words, "--plain-http", "--floor", "0.99", code=79)
    assert "the lower end of the interval must reach pipeline.floor (0.99)" in done.stderr
    for _ in range(2):
        done = run_eaves("federate", "collect", *words, "--plain-http")
        path, *image = done.stdout.split()
        assert bool(image) != ("is this model" in done.stderr)
    assert registry.tags("federated") == {Path(path).name, "best"}
    done = run_eaves("federate", "forget", "--folder", sites.folder, "--site", "berlin")
    assert "deleted 2 files of berlin" in done.stderr
    done = run_eaves("federate", "collect", *words, "--plain-http")
    assert done.stdout == ""
    assert "at 2 sites is judged by no site" in done.stderr
