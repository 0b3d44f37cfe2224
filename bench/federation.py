"""Benchmark of heads from many sites: exactness, Flower's FedAvg beside them, projection, and a merge of 1,000 sites.

The photos are the flowers beside the checkout, 650 of 5 classes, whose features are those of the default network as an
artifact's head reads them. Each draw divides the photos anew into 500 that the sites hold and 150 that are judged.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.loop import Photos
from bench.material import FOLDER, SHARED, Setup
from bench.processes import environment
from bench.report import Figure, Section, Table, UnavailableError
from bench.servers.catalogue import PEERS, install
from trainer.data.listing import LabelledImage
from trainer.federation.merging import SUMS, merge_sites, solve_head
from trainer.grouped_statistics import mean_interval
from trainer.model.feature_sums import (
    STRENGTHS,
    FeatureSums,
    Floats,
    Labels,
    LinearHead,
    SumsOrigin,
    build_projection,
    merge_all,
)
from trainer.model.linear_head import HeadRecipe, LabelledRows, fit_linear
from trainer.progress import SILENT
from trainer.storage import open_store

SEEDS, HELD, JUDGED = 10, 500, 150
SPLITS, SITES = ("one class a site", "IID", "Dirichlet 0.1"), (10, 100)
SIZES = (1280, 512, 256, 128)
"""Numbers of projected features, all of them first."""
FLOWER = "flwr==1.42.0"
RATES, EPOCHS = (0.01, 0.03), 5
"""Learning rates of FedAvg, the best of which is shown for each number of rounds, and local epochs. Among rates of
0.001 to 0.03 and 1 or 5 epochs, these reached the highest accuracy on the judged photos, which flatters FedAvg."""
DAYS = 40
"""Number of simulated days of FedAvg with the sites that are awake; a round starts every hour."""
NEAR = 0.01
"""Difference to the accuracy of the head from sums, within which a head of FedAvg counts as ready."""
MANY, DISTINCT, IMAGES, FEATURES, CLASSES = 1000, 20, 500, 2048, 10
"""The large merge: sites, files with different content (each is there under the names of many sites), images of a site,
features and classes."""
MILLIONTHS, POINTS = 1e6, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Photos that sites hold, and photos that are judged, by their row."""

    photos: Photos
    held: Labels
    judged: Labels

    @classmethod
    def of(cls, photos: Photos, seed: int) -> Draw:
        """Return the draw of a seed."""
        order = np.random.default_rng(seed).permutation(len(photos.truth))
        return cls(photos=photos, held=order[:HELD], judged=order[HELD : HELD + JUDGED])

    def divide(self, split: str, sites: int, seed: int) -> Labels:
        """Return the site of each held photo, (N,)."""
        random, truth = np.random.default_rng((seed, sites)), self.photos.truth[self.held]
        shuffled = random.permutation(len(truth))
        if split == "IID":
            return shuffled % sites
        if split == "one class a site":
            each = sites // self.photos.classes
            return np.asarray(truth * each + shuffled % each)
        shares = random.dirichlet(np.full(sites, 0.1), self.photos.classes)
        return np.array([random.choice(sites, p=shares[label]) for label in truth], np.int64)

    def upload(self, rows: Labels) -> bytes:
        """Return the file of a site that holds some photos, by their row; the point is the mean of 8 judged photos."""
        labels, point = [str(one) for one in range(self.photos.classes)], self.photos.features[self.judged[:8]]
        sums = FeatureSums.empty(labels, SumsOrigin(), point.mean(axis=0, keepdims=True))
        return sums.add(self.photos.features[rows], self.photos.truth[rows], groups=len(rows)).to_bytes(np.float32)

    def merge(self, site: Labels) -> FeatureSums:
        """Return the sums of all sites, read from their files; `site` is the site of each held photo."""
        files = (self.upload(self.held[site == one]) for one in np.unique(site))
        return merge_all(FeatureSums.from_bytes(content, "a site's file") for content in files)

    def pool(self, rows: Labels) -> LinearHead:
        """Return the head of a training on photos that are in one place."""
        labels = [str(one) for one in range(self.photos.classes)]
        features, truth = self.photos.features[rows].astype(np.float64), self.photos.truth[rows]
        return FeatureSums.of(features, truth, labels, groups=len(rows)).solve(STRENGTHS)[1]

    def accuracy(self, head: LinearHead) -> float:
        """Return the accuracy of a head on the judged photos."""
        return float(self.photos.is_right(head, self.judged).mean())

    def compare(self, head: LinearHead, other: LinearHead) -> tuple[float, float]:
        """Return the relative difference of two heads, and the share of judged photos with equal labels."""
        first, second = (np.vstack([one.kernel, one.bias]) for one in (head, other))
        answers = [one(self.photos.features[self.judged]).argmax(axis=1) for one in (head, other)]
        error = float(np.linalg.norm(first - second) / np.linalg.norm(second))
        return error, float(np.mean(answers[0] == answers[1]))

    def task(self, site: Labels, rate: float, rounds: int, hours: Sequence[int] = ()) -> dict[str, Any]:
        """Return a task of `bench/servers/peers/with_flower.py`."""
        return {
            "train": self.held.tolist(),
            "site": site.tolist(),
            "judge": self.judged.tolist(),
            "rate": rate,
            "epochs": EPOCHS,
            "rounds": rounds,
            "hours": list(hours),
        }


def load_photos() -> Photos:
    """Return the flowers with the default network's features, which are kept in the user's cache.

    Raises:
        UnavailableError: The photos are not beside the checkout.
    """
    from trainer.model.candidates import compute_features  # TensorFlow takes seconds
    from trainer.model.keras_model import build_backbone
    from trainer.settings import TrainSettings

    paths = sorted((SHARED / "data/flowers").glob("*/*/*.jpg"))
    if not paths:
        raise UnavailableError("the photos of flowers are not beside the checkout")
    images = [
        LabelledImage(
            path=path,
            label=path.parent.name,
            below=PurePosixPath(path.name),
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
    ]
    names, settings = sorted({image.label for image in images}), TrainSettings()
    store = open_store(str(Path.home() / ".cache/eaves/features"))
    features = compute_features(settings, images, store, SILENT, backbone=build_backbone(settings)).values
    return Photos(features=features, truth=np.array([names.index(image.label) for image in images], np.int64))


def measure_exactness(draws: Sequence[Draw]) -> tuple[Figure, ...]:
    """Compare heads of sites' files with pooled training, and a subtracted site with a training without it."""
    merged, less = list[tuple[float, float]](), list[tuple[float, float]]()
    for seed, draw in enumerate(draws):
        pooled = draw.pool(draw.held)
        for split in SPLITS:
            for sites in SITES:
                site = draw.divide(split, sites, seed)
                sums = draw.merge(site)
                merged.append(draw.compare(sums.solve(STRENGTHS)[1], pooled))
                if sites == SITES[0]:
                    gone = int(np.unique(site)[seed % len(np.unique(site))])
                    rest = sums.subtract(FeatureSums.from_bytes(draw.upload(draw.held[site == gone]), "the site"))
                    less.append(draw.compare(rest.solve(STRENGTHS)[1], draw.pool(draw.held[site != gone])))
    named = {"sites' files to pooled training": merged, "a subtracted site to a training without it": less}
    return tuple(
        figure
        for name, found in named.items()
        for figure in (
            Figure(
                name=f"relative difference of heads, {name}, largest of {len(found)}, millionths",
                value=max(error for error, _ in found) * MILLIONTHS,
                bar=1,
                measured=f"median {np.median([error for error, _ in found]) * MILLIONTHS:.2g}",
            ),
            Figure(
                name=f"judged photos with equal labels, {name}",
                value=min(share for _, share in found) * POINTS,
                unit="%",
                bar=100,
                is_minimum=True,
            ),
        )
    )


def run_flower(photos: Photos, tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers of Flower to tasks.

    Raises:
        UnavailableError: Flower can't be installed, or fails.
    """
    if not install("Flower", (FLOWER,)):
        raise UnavailableError("Flower could not be installed")
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "tasks.npz"), Path(folder, "answers.json")
        text = np.frombuffer(json.dumps(tasks).encode(), np.uint8)
        np.savez(given, features=photos.features, truth=photos.truth, tasks=text)
        words = [FOLDER / "servers/Flower/bin/python", PEERS / "with_flower.py", given, answers]
        environ = {**environment(), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=environ)
        if done.returncode:
            raise UnavailableError(f"Flower failed: {done.stderr[-500:].strip()}")
        found: list[dict[str, Any]] = json.loads(answers.read_bytes())
    return found


def show_gain(values: Floats) -> str:
    """Return the mean of differences in points, with its 95 % interval over draws."""
    low, high = mean_interval(values, range(len(values)))
    return f"{POINTS * values.mean():+.1f} ({POINTS * low:+.1f} to {POINTS * high:+.1f})"


def score_sizes(draw: Draw, site: Labels) -> tuple[list[float], list[int]]:
    """Return the accuracy and the bytes of a file for each number of features of `SIZES`."""
    sums, accuracies, sizes = draw.merge(site), list[float](), list[int]()
    for size in SIZES:
        projected = sums.project(size)
        sizes.append(len(projected.to_bytes(np.float32)))
        head = projected.solve(STRENGTHS)[1]
        if size < len(sums.shift[0]):
            kernel = build_projection(len(sums.shift[0]), size) @ head.kernel
            head = LinearHead(kernel=kernel, bias=head.bias)
        accuracies.append(draw.accuracy(head))
    return accuracies, sizes


def wait_for(hours: Sequence[int], now: float) -> float:
    """Return the hour at which the last site has been awake, from `now` on; `hours` are the hours of the day."""
    return max(now + (hour - now) % 24 if not 0 <= (now - hour) % 24 < 1 else now for hour in hours)


def find_ready(accuracies: Sequence[float], wanted: float) -> int | None:
    """Return the first round whose head has an accuracy."""
    return next((number for number, value in enumerate(accuracies) if number and value >= wanted), None)


def compare_flower(draws: Sequence[Draw]) -> tuple[tuple[Figure, ...], tuple[Table, ...], tuple[str, ...]]:
    """Compare heads from sums with those of Flower's FedAvg by bytes, rounds and time."""
    rows, sleeping, worst, notes = list[tuple[str, ...]](), list[tuple[str, ...]](), list[tuple[float, str]](), []
    photos, seeds = draws[0].photos, range(len(draws))
    for split, sites in (*((split, SITES[0]) for split in SPLITS), (SPLITS[-1], SITES[1])):
        divided = [draw.divide(split, sites, seed) for seed, draw in enumerate(draws)]
        started = time.perf_counter()
        scored = [score_sizes(draw, site) for draw, site in zip(draws, divided, strict=True)]
        seconds = (time.perf_counter() - started) / len(draws)
        ours, size_bytes = np.array([one for one, _ in scored]), scored[0][1]
        most = size_bytes[0] // 26_000
        rates = RATES if sites == SITES[0] else RATES[1:]
        pairs = [(draw, site, rate) for rate in rates for draw, site in zip(draws, divided, strict=True)]
        answers = run_flower(photos, [draw.task(site, rate, most) for draw, site, rate in pairs])
        curves = np.array([one["accuracies"] for one in answers]).reshape(len(rates), len(draws), -1)
        for place, (size, content) in enumerate(zip(SIZES, size_bytes, strict=True)):
            rounds = min(most, max(1, round(content / answers[0]["sent_bytes"])))
            theirs = curves[int(curves[:, :, rounds].mean(axis=1).argmax()), :, rounds]
            gain = ours[:, place] - theirs
            numbers = f"{size}", f"{content / 1000:.0f} KB", f"{ours[:, place].mean():.3f}", f"{rounds}"
            rows.append((split, f"{sites}", *numbers, f"{theirs.mean():.3f}", show_gain(gain)))
            worst += [(float(gain.mean()), f"{split}, {sites} sites: {show_gain(gain)}")] if not place else []
        if sites == SITES[0]:
            times = measure_sleep(draws, divided, ours[:, 0], curves[-1])
            sleeping += [(split, *one) for one in times]
        notes.append(
            f"{split}, {sites} sites: all features' sums, merge and heads of four sizes took {seconds:.1f} s a draw, "
            f"{most} rounds of FedAvg {np.mean([one['seconds'] for one in answers]):.1f} s; a site sends "
            f"{answers[0]['sent_bytes'] / 1000:.1f} KB a round and receives as much."
        )
    value, where = min(worst)
    figure = Figure(
        name="gain over FedAvg at equal bytes sent, points, worst split",
        value=value * POINTS,
        bar=0,
        is_minimum=True,
        measured=where,
    )
    heads = ("split", "sites", "features", "a file", "sums", "rounds", "FedAvg", "gain, points")
    title = (
        f"One file of each site beside as many rounds of Flower's FedAvg as send the same bytes: accuracy on {JUDGED} "
        f"other photos, mean of {len(seeds)} draws, and the difference with its 95 % interval:"
    )
    table = Table(title=title, heads=heads, rows=tuple(rows))
    title = (
        f"{SITES[0]} sites, each awake one hour a day: days until the head from sums of all sites is there, and until "
        f"FedAvg first comes within {NEAR * POINTS:.0f} point of it; median of {len(seeds)} draws, at most {DAYS} days:"
    )
    slept = Table(title=title, heads=("split", "way", "days", "draws that come there"), rows=tuple(sleeping))
    return (figure,), (table, slept), tuple(notes)


def measure_sleep(
    draws: Sequence[Draw], divided: Sequence[Labels], ours: Floats, curves: Floats
) -> list[tuple[str, str, str]]:
    """Return the days until a head is there, for sites that are awake one hour a day: sums, and two ways of FedAvg.

    Args:
        draws: The draws.
        divided: Site of each held photo, for each draw.
        ours: (draws,) accuracy of the head from sums.
        curves: (draws, rounds + 1) accuracy of FedAvg in which all sites take part in each round.
    """
    hours = [np.random.default_rng((seed, 24)).integers(0, 24, SITES[0]).tolist() for seed in range(len(draws))]
    tasks = [
        draw.task(site, RATES[1], DAYS * 24, [of_day[one] for one in np.unique(site)])
        for draw, site, of_day in zip(draws, divided, hours, strict=True)
    ]
    awake = [one["accuracies"] for one in run_flower(draws[0].photos, tasks)]
    found: dict[str, list[float]] = {"sums": [], "FedAvg, all sites in each round": [], "FedAvg, those awake": []}
    for seed, of_day in enumerate(hours):
        here = [of_day[one] for one in np.unique(divided[seed])]
        found["sums"].append(wait_for(here, 0.0) / 24)
        rounds, now = find_ready(curves[seed], ours[seed] - NEAR), 0.0
        for _ in range(rounds or 0):
            now = wait_for(here, now + 0.01)
        found["FedAvg, all sites in each round"].append(now / 24 if rounds else np.inf)
        round_of_awake = find_ready(awake[seed], ours[seed] - NEAR)
        found["FedAvg, those awake"].append((round_of_awake - 1) / 24 if round_of_awake else np.inf)
    return [
        (
            way,
            f"{np.median(days):.1f}" if np.median(days) <= DAYS else f"more than {DAYS}",
            f"{sum(np.array(days) <= DAYS)}",
        )
        for way, days in found.items()
    ]


def compare_softmax(draws: Sequence[Draw]) -> Figure:
    """Compare heads from sums with the better of two softmax regressions on pooled photos."""
    ours = np.array([draw.accuracy(draw.pool(draw.held)) for draw in draws])
    found = []
    for strength in (20.0, 2.0):
        recipe = HeadRecipe(kind="softmax", strength=strength)
        fits = (
            fit_linear(recipe, draw.photos.features[draw.held], LabelledRows.of(draw.photos.truth[draw.held].tolist()))
            for draw in draws
        )
        found.append([draw.accuracy(head) for draw, head in zip(draws, fits, strict=True)])
    theirs = np.array(max(found, key=np.mean))
    return Figure(
        name=f"accuracy below that of softmax on pooled photos, points, mean of {len(draws)} draws",
        value=float((theirs - ours).mean()) * POINTS,
        bar=2,
        measured=f"{ours.mean():.3f} and {theirs.mean():.3f}; difference {show_gain(theirs - ours)}",
    )


def merge_many(folder: Path) -> tuple[float, float]:
    """Merge the files of a folder in this process, and return the seconds and the most resident memory, MB."""
    started = time.perf_counter()
    merging = merge_sites(folder, SumsOrigin(), (1, FEATURES), [str(one) for one in range(CLASSES)])
    solved = merging.sums is not None and solve_head(merging.sums, FEATURES)
    seconds = time.perf_counter() - started
    if not solved or merging.lines or len(merging.sites) < len(list((folder / SUMS).iterdir())):
        raise RuntimeError(f"{len(merging.sites)} sites were merged: {merging.lines[:3]}")
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return seconds, int(peak.split()[1]) * 1024 / 1e6


def measure_scale(sites: int) -> tuple[Figure, ...]:
    """Merge the files of many sites in a process of its own."""
    random, labels = np.random.default_rng(0), [str(one) for one in range(CLASSES)]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        place = Path(folder, "model")
        (place / SUMS).mkdir(parents=True)
        empty = FeatureSums.empty(labels, SumsOrigin(), np.full((1, FEATURES), 0.5))
        for number in range(min(DISTINCT, sites)):
            features, truth = random.gamma(1.0, 0.5, (IMAGES, FEATURES)), random.integers(0, CLASSES, IMAGES)
            content = empty.add(features.astype(np.float32), truth, groups=IMAGES).to_bytes(np.float32)
            digest, written = hashlib.sha256(content).hexdigest()[:16], Path(folder, "content")
            written.write_bytes(content)
            for site in range(number, sites, DISTINCT):
                os.link(written, place / SUMS / f"site-{site:04}-{time.time_ns() // 10**6}-{digest}.npz")
            written.unlink()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, memory = pool.submit(merge_many, place).result()
    name = f"merge of {sites:,} sites of {IMAGES} photos and {FEATURES:,} features"
    return (
        Figure(name=name, value=seconds, unit="s", bar=300, measured=f"{len(content) / 1e6:.1f} MB a file"),
        Figure(name="most resident memory of this merge", value=memory, unit="MB", bar=1000),
    )


def measure(setup: Setup) -> Section:
    """Measure exactness, the comparison with FedAvg, and the large merge."""
    with threadpool_limits(1):
        photos = load_photos()
        draws = [Draw.of(photos, seed) for seed in range(setup.rounds(SEEDS))]
        exact, softmax = measure_exactness(draws), compare_softmax(draws)
        flower, tables, notes = compare_flower(draws) if setup.has_peers else ((), (), ())
    scale = measure_scale(setup.rounds(MANY))
    linked = (
        f"The files of the large merge have {DISTINCT} different contents, each linked under the names of many sites; "
        "each is read anew, from the page cache."
    )
    return Section(figures=(*exact, softmax, *flower, *scale), tables=tables, notes=(*notes, linked))
