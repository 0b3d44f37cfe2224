"""Benchmark of the task anomaly on photos of solar cells, of which only good ones are trained on.

The photos are those of PyPI's `elpv-dataset` (CC BY-NC-SA 4.0), which must be installed; nothing of them is kept. Cells
of one module may be on both sides of the split, because the package doesn't say which belong together.

Source: Buerhop-Lutz et al. 2018, A Benchmark for Visual Identification of Defective Solar Cells.
"""

from __future__ import annotations

import importlib.util
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.material import Setup
from bench.processes import environment, python
from bench.report import Figure, Section, Table, UnavailableError
from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import open_artifact
from eaves.artifact.manifest import DIAGONAL, GAUSSIAN, PATCHES
from eaves.inference.session import open_session

BARS = {100: 0.945, 300: 0.955}
"""Smallest mean AUROC by the number of good photos."""
CPU_BARS = {GAUSSIAN: 16.0, DIAGONAL: 10.0, PATCHES: 10.0}
SIZE_BAR_MB, TRAINING_BAR_S = 25.0, 60.0
JUDGING, SEEDS, RUNS = 200, 3, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Measurements of one training and its artifact.

    Attributes:
        auroc: AUROC on good and defective photos that were not trained on.
        seconds: Time of the whole `eaves train` process, seconds.
        cpu_ms: Processor time of the graph for one image on one thread, ms.
        megabytes: Size of the artifact, MB.
    """

    auroc: float
    seconds: float
    cpu_ms: float
    megabytes: float


def measure(setup: Setup) -> Section:
    """Train on 100 and 300 good photos with several seeds, and with each method once."""
    seeds = setup.rounds(SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            good: [run_trial(Path(folder, f"{good}-{seed}"), good, seed, GAUSSIAN) for seed in range(seeds)]
            for good in BARS
        }
        methods = {m: run_trial(Path(folder, m), 100, 0, m) for m in (DIAGONAL, PATCHES)} | {GAUSSIAN: found[100][0]}
    figures = []
    for good, trials in found.items():
        values = [trial.auroc for trial in trials]
        figures.append(
            Figure(
                name=f"AUROC from {good} good photos, mean of {seeds} draws",
                value=statistics.mean(values),
                bar=BARS[good],
                is_minimum=True,
                measured=f"{min(values):.3f} to {max(values):.3f}",
            )
        )
    slowest = max(trial.seconds for trial in found[300])
    figures.append(Figure(name="training on 300 good photos", value=slowest, unit="s", bar=TRAINING_BAR_S))
    for method, trial in methods.items():
        name = f"one image, {method}, one thread"
        figures.append(Figure(name=name, value=trial.cpu_ms, unit="CPU ms", bar=CPU_BARS[method]))
        figures.append(Figure(name=f"artifact, {method}", value=trial.megabytes, unit="MB", bar=SIZE_BAR_MB))
    rows = tuple((method, f"{trial.auroc:.3f}") for method, trial in methods.items())
    table = Table(title="From 100 good photos, one draw:", heads=("method", "AUROC"), rows=rows)
    return Section(figures=tuple(figures), tables=(table,))


def run_trial(folder: Path, good: int, seed: int, method: str) -> Trial:
    """Train on good photos, and measure on `JUDGING` other good and as many defective ones.

    Raises:
        UnavailableError: The photos are not installed.
    """
    arrange_photos(folder / "photos", good, seed)
    # Each photo is of another cell. Those that look alike would be left out, and only the odd ones judged.
    (folder / "eaves.yaml").write_text("name: cells\ndata: {near_copies: 'off'}\n")
    words = ["train", "--task", "anomaly", "--method", method, "--data", "photos", "--run", "run"]
    started = time.perf_counter()
    subprocess.run([python(), "-P", "-m", "eaves.cli", *words], cwd=folder, env=environment(), check=True)
    seconds = time.perf_counter() - started
    kinds = json.loads((folder / "run/metrics.json").read_text())["anomaly"]["kinds"]
    artifact = convert(folder / "run", folder / "artifact", ConvertSettings(precision="fp32"))
    return Trial(
        auroc=kinds["defective"]["auroc"],
        seconds=seconds,
        cpu_ms=measure_graph(artifact.path),
        megabytes=sum(file.size_bytes for file in artifact.manifest.files.values()) / 1e6,
    )


def measure_graph(path: Path) -> float:
    """Return the median of the processor time of one image on one thread, ms."""
    artifact = open_artifact(path)
    session = open_session(artifact, threads=1)
    photo = next(file for file in sorted((path / "golden").iterdir()) if file.suffix != ".json")
    batch = artifact.manifest.image_recipe.tensor(photo.read_bytes())[None]
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        session.answer(batch)
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times)


def arrange_photos(folder: Path, good: int, seed: int) -> None:
    """Link photos of monocrystalline cells into `train/good`, `val/good` and `val/defective`.

    Raises:
        UnavailableError: The photos are not installed.
    """
    found = importlib.util.find_spec("elpv_dataset")
    if found is None or found.origin is None:
        raise UnavailableError("the photos are not installed: pip install elpv-dataset")
    data = Path(found.origin).parent / "data"
    named: Mapping[str, list[str]] = {"0.0": [], "1.0": []}
    for line in (data / "labels.csv").read_text().splitlines():
        name, share, kind = line.split()
        if kind == "mono" and share in named:
            named[share].append(name)
    for names in named.values():
        random.Random(seed).shuffle(names)
    sound, defective = named["0.0"], named["1.0"][:JUDGING]
    sides = {"train/good": sound[:good], "val/good": sound[good : good + JUDGING], "val/defective": defective}
    for side, names in sides.items():
        (folder / side).mkdir(parents=True)
        for name in names:
            (folder / side / Path(name).name).symlink_to(data / name)
