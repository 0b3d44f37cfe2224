"""Prepares the models that the benchmarks measure, unless an earlier run has prepared them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.processes import ROOT, environment, python
from bench.report import Section, UnavailableError, join_sections

FOLDER = ROOT / "build/bench"
SHARED = ROOT.parent / "shared"
"""Directory with photos of flowers and pretrained weights. Without photos the models learn colours, which doesn't
change their speed; without the weights of a model, it isn't measured."""
ARCHITECTURES = {"efficientnet_lite0": None, "inception_v3": "weights/inception_v3_notop.weights.h5"}
"""Architectures that are measured, the default one first, each with the file of its weights below `SHARED`; None: the
weights are installed with Eaves."""
OPSET = "17"
SOURCES = ("converters", "eaves/artifact", "eaves/inference")
"""Folders whose code decides what a conversion writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One model that the benchmarks measure, and the image that they send; all paths are absolute.

    Attributes:
        name: Name of the model's architecture.
        run: Run that the artifacts were made from.
        exported: The fp32 model that tf2onnx writes by itself, with its weights in the same file.
        precisions: Artifacts with the precisions `fp32` and `int8`; fp32 as a conversion without further options.
        updates: Artifacts with another head on the same backbone, by precision.
        image: JPEG that is sent.
    """

    name: str
    run: Path
    exported: Path
    precisions: Mapping[str, Path]
    updates: Mapping[str, Path]
    image: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a section gets.

    Attributes:
        models: Models to measure, the default architecture's first; empty when the section needs none.
        is_quick: Whether to make short runs, whose figures are rough.
        has_peers: Whether other servers are installed and measured beside Eaves.
        environ: Environment variables of the command, for sections with settings of their own.
    """

    models: Sequence[Material] = ()
    is_quick: bool = False
    has_peers: bool = True
    environ: Mapping[str, str]

    def rounds(self, normal: int) -> int:
        """Return the number of rounds: `normal`, or 2 in a quick run."""
        return min(2, normal) if self.is_quick else normal


def measure_each(setup: Setup, measure: Callable[[Setup, Material], Section]) -> Section:
    """Measure each model with `measure`, one after the other, and return the sections as one."""
    return join_sections({material.name: measure(setup, material) for material in setup.models})


def prepare(folder: Path = FOLDER, shared: Path = SHARED) -> list[Material]:
    """Return the models, and train, convert and export those that are missing; that takes some minutes, once.

    Raises:
        UnavailableError: When a model can't be made.
    """
    weights = {arch: shared / name if name else None for arch, name in ARCHITECTURES.items()}
    found = [arch for arch, path in weights.items() if path is None or path.is_file()]
    return [_make(*train_twice(arch, weights[arch], folder, shared), folder) for arch in found]


def train_twice(arch: str, weights: Path | None, folder: Path, shared: Path) -> tuple[Path, Path]:
    """Return two runs of an architecture with the same backbone and different heads, trained if they don't exist."""
    data = shared / "data/flowers/train"
    if not data.is_dir():
        data = write_images(folder / "images")
    runs = []
    for name, more in ((arch, ()), (f"{arch}-2", ("--seed", "7"))):
        runs.append(folder / "runs" / name)
        if not (runs[-1] / "run.json").is_file():
            words = build_training_words(data, arch, weights, runs[-1])
            run_module(f"training {name}", "trainer", *words, *more)
    return runs[0], runs[1]


def build_training_words(data: Path, arch: str, weights: Path | None, run: Path) -> list[str]:
    """Return the options of `python -m trainer` that train an architecture on photos."""
    given = ["--weights", str(weights)] if weights else []
    return ["--path", str(data), "--arch", arch, *given, "--output", str(run)]


def write_images(folder: Path, classes: int = 4, count: int = 48) -> Path:
    """Write images of random colours in one folder per class, and return the folder."""
    random = np.random.default_rng(0)
    for number in range(count):
        target = folder / str(number % classes) / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shade = np.eye(4)[number % classes][:3] + 0.2
        pixels = (random.integers(0, 200, (16, 16, 3)) * shade).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((400, 400), Image.Resampling.BICUBIC).save(target)
    return folder


def _make(run: Path, second: Path, folder: Path) -> Material:
    """Return the model of a run, converted and exported if that wasn't done; `second` is a run with another head."""
    made = (folder / "models" / _digest([run, second])).absolute()
    found = {name: _convert(run, made / name / "artifact", name) for name in ("fp32", "int8")}
    updates = {
        name: _convert(second, made / f"{name}-update/artifact", name, "--previous", str(previous))
        for name, previous in found.items()
    }
    return Material(
        name=json.loads((run / "run.json").read_bytes())["arch"],
        run=run.absolute(),
        exported=_export(run, made / "exported.onnx"),
        precisions=found,
        updates=updates,
        image=max(found["fp32"].glob("golden/*.jpg"), key=lambda path: path.stat().st_size),
    )


def _digest(runs: Sequence[Path]) -> str:
    """Return a digest of the runs and of the code that converts them, so that a change of either makes new models."""
    found = hashlib.sha256()
    files = [run / "run.json" for run in runs]
    files += [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _convert(run: Path, output: Path, precision: str, *more: str) -> Path:
    if not (output / "manifest.json").is_file():
        output.parent.mkdir(parents=True, exist_ok=True)
        words = (str(run), "--output", str(output), "--precision", precision, *more)
        run_module(f"converting {run.name} to {precision}", "converters", *words)
    return output


def _export(run: Path, output: Path) -> Path:
    if not output.is_file():
        output.parent.mkdir(parents=True, exist_ok=True)
        words = ("--saved-model", str(run / "model"), "--output", str(output), "--opset", OPSET)
        run_module("exporting as tf2onnx does it by itself", "tf2onnx.convert", *words)
    return output


def run_module(what: str, module: str, *words: str, root: Path = ROOT) -> None:
    """Run a module with the Python and the code of a checkout.

    Raises:
        UnavailableError: When the process fails.
    """
    print(what, file=sys.stderr, flush=True)
    command = [python(root), "-P", "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(root))
    if done.returncode:
        raise UnavailableError(f"{what} failed with {done.returncode}: {done.stderr[-500:].strip()}")
