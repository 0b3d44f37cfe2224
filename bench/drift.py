"""Benchmark of the watch of scores: false alarms of an unchanged camera, and after how many images changes are noticed.

The changes are made to the flowers beside the checkout, whose model is a head on features of the default network. The
windows of a camera are drawn from the photos that the model wasn't fitted to, again and again.
"""

from __future__ import annotations

import io
import sqlite3
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from threadpoolctl import threadpool_limits

from bench.loop import Floats, Photos, load_photos
from bench.material import Setup
from bench.report import Figure, Section, Table
from converters.model_source import summarize_scores
from eaves.artifact.manifest import LabelScores, log_odds
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.spool import score_shift
from eaves.spool.score_shift import BINS, WINDOW, Sample, find_shift
from trainer.calibration import fit_temperature, softmax
from trainer.data.splitting import HeldOutAnswer
from trainer.model.feature_sums import Features, Labels

CAMERAS, SEEDS, WINDOWS = 500, 20, 4
"""Numbers of simulated cameras, of draws of a change, and of the windows in which it may be noticed."""
FITTED, HELD_OUT = 300, 130
"""Numbers of photos that the model of flowers is fitted to, and whose scores it is compared with."""


def blur(image: Image.Image) -> Image.Image:
    """Return an image as of a lens out of focus."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 100))


def darken(image: Image.Image) -> Image.Image:
    """Return an image at half the light."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def change_camera(image: Image.Image) -> Image.Image:
    """Return an image as of a camera with few pixels, pale colours and strong compression."""
    small = image.resize((max(1, image.width // 3), max(1, image.height // 3)))
    buffer = io.BytesIO()
    ImageEnhance.Color(small).enhance(0.4).save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blur": blur,
    "half the light": darken,
    "another camera": change_camera,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A model whose scores are watched.

    Attributes:
        scores: Scores of its held-out images, for each of its labels.
        probabilities: Returns the probabilities, (N, labels), of features, (N, D).
    """

    scores: Sequence[LabelScores]
    probabilities: Callable[[Features], Floats]

    def sample(self, probabilities: Floats, random: np.random.Generator) -> Sample | None:
        """Return what the reply to an image adds to a window; `probabilities` is (labels,)."""
        best = int(probabilities.argmax())
        known = self.scores[best]
        if not known.edges:
            return None
        odds = log_odds(float(probabilities[best]), float(np.delete(probabilities, best).sum()))
        rank = known.rank(odds, float(random.random()))
        return Sample(
            reply=Event(id="1", source="/eaves/bench/flowers", type=IMAGE_CLASSIFIED, data=b""),
            artifact="sha256:1",
            source="/eaves/bench/camera",
            label=str(best),
            rank=rank,
            place=min(int(rank * BINS), BINS - 1),
            reference=[known.groups / BINS] * BINS,
            extensions={},
        )


def summarize(probabilities: Floats) -> tuple[LabelScores, ...]:
    """Return the scores of held-out images by their probabilities, (N, labels)."""
    answers = [
        HeldOutAnswer(digest=str(row), file="", label="", predicted=str(one.argmax()), score=float(one.max()))
        for row, one in enumerate(probabilities)
    ]
    return summarize_scores(answers, [str(label) for label in range(probabilities.shape[1])])


def watch(photos: Photos, fitted: Labels, held_out: Labels, classes: Sequence[int]) -> Watched:
    """Return the model of some classes, fitted to photos, (N,), and calibrated and judged on others, (M,)."""
    place = {label: number for number, label in enumerate(classes)}
    fitted, held_out = (np.array([row for row in rows if photos.truth[row] in place]) for rows in (fitted, held_out))
    truth = np.array([place.get(int(label), 0) for label in photos.truth], np.int64)
    head = replace(photos, truth=truth).fit(fitted)
    temperature = fit_temperature(head(photos.features[held_out]), truth[held_out])

    def predict(features: Features) -> Floats:
        return softmax(head(features), temperature)

    return Watched(scores=summarize(predict(photos.features[held_out])), probabilities=predict)


def find_images(photos: Photos, changed: Photos, seed: int, new_share: float = 0.0) -> int | None:
    """Return the number of changed images until the first event, after one unchanged window; None: `WINDOWS` pass.

    Args:
        photos: The photos as they are.
        changed: The photos as the camera sees them later.
        seed: Number of the draw.
        new_share: Share of images of a class that the model doesn't know, after the change; 0: it knows all.
    """
    random = np.random.default_rng(seed)
    order, new = random.permutation(len(photos.truth)), seed % photos.classes if new_share else -1
    fitted, held_out, others = order[:FITTED], order[FITTED : FITTED + HELD_OUT], order[FITTED + HELD_OUT :]
    model = watch(photos, fitted, held_out, [label for label in range(photos.classes) if label != new])
    is_new = photos.truth[others] == new
    usual = np.where(is_new, 0.0, 1 / np.count_nonzero(~is_new))
    later = usual if new < 0 else usual * (1 - new_share) + is_new * new_share / np.count_nonzero(is_new)
    db = sqlite3.connect(":memory:")
    db.executescript(score_shift.TABLE)
    seen = 0
    for features, weights, windows in ((photos.features, usual, 1), (changed.features, later, WINDOWS)):
        drawn = model.probabilities(features[random.choice(others, windows * WINDOW, p=weights)])
        for seen, one in enumerate(drawn, 1):
            event = score_shift.count(db, model.sample(one, random), float(seen))
            if event is not None and features is changed.features:
                return seen
    return None


def count_alarms(held_out: int, labels: int, cameras: int) -> int:
    """Return in how many of two windows of each unchanged camera a shift is seen; scores are normal, mixes unequal."""
    random, alarms = np.random.default_rng(held_out + labels), 0
    for _ in range(cameras):
        mix = random.dirichlet(np.ones(labels)) * 0.96 + 0.04 / labels

        def draw(number: int, mix: Floats = mix) -> tuple[Labels, Floats]:
            drawn = random.choice(labels, number, p=mix)
            return drawn, random.normal(drawn * 0.3, 2.0)

        names, odds = draw(held_out)
        answers = [
            HeldOutAnswer(digest=str(row), file="", label="", predicted=str(name), score=1 / (1 + np.exp(-one)))
            for row, (name, one) in enumerate(zip(names.tolist(), odds.tolist(), strict=True))
        ]
        known = summarize_scores(answers, [str(label) for label in range(labels)])
        reference = {str(label): [one.groups / BINS] * BINS for label, one in enumerate(known) if one.edges}
        for _ in range(2):
            counts: score_shift.Bins = {}
            for name, one in zip(*(values.tolist() for values in draw(WINDOW)), strict=True):
                if known[name].edges:
                    place = min(int(known[name].rank(one, random.random()) * BINS), BINS - 1)
                    counts.setdefault(str(name), [0] * BINS)[place] += 1
            if find_shift(counts, reference):
                alarms += 1
            else:
                score_shift.add_window(counts, reference)
    return alarms


def measure(setup: Setup) -> Section:
    """Measure false alarms and what is noticed."""
    cameras, seeds = setup.rounds(CAMERAS), setup.rounds(SEEDS)
    cases = [(held_out, labels) for held_out in (60, 130, 1000) for labels in (2, 5)]
    alarms = {case: count_alarms(*case, cameras) for case in cases}
    with threadpool_limits(1):
        photos = load_photos()
        seen = {name: load_photos(change) for name, change in CHANGES.items()}
        found = {name: [find_images(photos, changed, seed) for seed in range(seeds)] for name, changed in seen.items()}
        for share in (0.2, 0.5):
            found[f"a new class, {share:.0%} of the images"] = [
                find_images(photos, replace(photos), seed, share) for seed in range(seeds)
            ]
        found["none (the photos are drawn again and again)"] = [
            find_images(photos, replace(photos, features=photos.features.copy()), seed) for seed in range(seeds)
        ]
    windows = 2 * cameras * len(cases)
    total = sum(alarms.values())
    rows = []
    for name, values in found.items():
        known = [value for value in values if value is not None]
        within = sum(value <= WINDOW for value in known)
        median = f"{statistics.median(known):.0f}" if 2 * len(known) > len(values) else "not noticed"
        rows.append((name, f"{within / len(values):.0%}", f"{len(known) / len(values):.0%}", median))
    figure = Figure(
        name="false alarms, of 1,000 windows",
        value=1000 * total / windows,
        bar=2,
        measured=f"{total} of {windows:,}: "
        + ", ".join(f"{count} at {held} held out and {labels} labels" for (held, labels), count in alarms.items()),
    )
    table = Table(
        title=f"After a change, {HELD_OUT} photos held out, {seeds} draws; images until the median draw notices it:",
        heads=("change", f"noticed in {WINDOW}", f"in {WINDOWS * WINDOW:,}", "images"),
        rows=tuple(rows),
    )
    return Section(figures=(figure,), tables=(table,))
