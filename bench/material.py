"""Prepares the models that the benchmarks measure, unless an earlier run has prepared them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.report.machine import ROOT
from bench.report.section import Section, UnavailableError, join_sections
from eaves.artifact import open_artifact

FOLDER = ROOT / "build/bench"
SHARED = ROOT.parent / "shared"
"""Directory with photos of flowers and pretrained weights; without it the models have random weights, which doesn't
change their speed."""
ARCHITECTURES = {"efficientnet_lite0": None, "inception_v3": "weights/inception_v3_notop.weights.h5"}
"""Architectures that are measured, the default one first, each with the file of its weights below `SHARED`; None: the
weights are installed with Eaves."""
OPSET = "17"
SOURCES = ("converters", "eaves/artifact", "eaves/inference", "eaves/onnxruntime")
"""Folders whose code decides what a conversion writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One model that the benchmarks measure, and the image that they send; all paths are absolute.

    Attributes:
        name: Name of the model's architecture.
        text: The name with the size of the input.
        run: Run that the artifacts were made from.
        exported: The fp32 model that tf2onnx writes by itself, with its weights in the same file.
        fp32: Artifact with precision fp32, as a conversion without further options makes it.
        int8: Artifact with precision int8.
        updates: Artifacts with another head on the same backbone, by precision; empty when there is no second run.
        image: JPEG that is sent.
    """

    name: str
    text: str
    run: Path
    exported: Path
    fp32: Path
    int8: Path
    updates: Mapping[str, Path]
    image: Path

    @property
    def precisions(self) -> dict[str, Path]:
        """The artifacts by precision."""
        return {"fp32": self.fp32, "int8": self.int8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a part of the benchmark gets.

    Attributes:
        models: Models to measure, the default architecture's first; empty when the part needs none or there are none.
        reason: Why there are no models; empty otherwise.
        is_quick: Whether to make short runs, whose figures are rough.
        has_peers: Whether other servers are installed and measured beside Eaves.
        environ: Environment variables of the command, for parts with settings of their own.
    """

    models: Sequence[Material] = ()
    reason: str = ""
    is_quick: bool = False
    has_peers: bool = True
    environ: Mapping[str, str]

    def need_models(self) -> Sequence[Material]:
        """Return the models.

        Raises:
            UnavailableError: When there are none.
        """
        if not self.models:
            raise UnavailableError(self.reason or "there is no model")
        return self.models

    def need_material(self) -> Material:
        """Return the default architecture's model, for parts that measure one model; raises as `need_models`."""
        return self.need_models()[0]

    def rounds(self, normal: int) -> int:
        """Return the number of rounds: `normal`, or 2 in a quick run."""
        return min(2, normal) if self.is_quick else normal


def measure_each(setup: Setup, measure: Callable[[Setup, Material], Section]) -> Section:
    """Measure each model with `measure`, one after the other, and return the sections as one."""
    models = setup.need_models()
    return join_sections({material.name: measure(setup, material) for material in models})


def prepare(environ: Mapping[str, str], folder: Path = FOLDER, shared: Path = SHARED) -> list[Material]:
    """Return the models, and train, convert and export those that are missing; that takes some minutes, once.

    Args:
        environ: Environment variables. EAVES_BENCH_RUN names a run of image classification that is measured instead,
            and EAVES_BENCH_RUN2 a run with another head on the same backbone.
        folder: Directory for the models.
        shared: Directory with `data/flowers` and `weights`, used when no run is named.

    Raises:
        UnavailableError: When a model can't be made.
    """
    first, second = (environ.get(f"EAVES_BENCH_{name}", "") for name in ("RUN", "RUN2"))
    pairs = [(first, second)] if first else [_train(arch, folder, shared) for arch in ARCHITECTURES]
    return [_make(*pair, folder) for pair in pairs]


def _make(run: str, second: str, folder: Path) -> Material:
    """Return the model of a run, converted and exported if that wasn't done; `second` is a run with another head."""
    made = (folder / "models" / _digest([run, second])).absolute()
    found = {name: _convert(run, made / name / "artifact", name) for name in ("fp32", "int8")}
    updates = {
        name: _convert(second, made / f"{name}-update/artifact", name, ("--previous", str(previous)))
        for name, previous in found.items()
        if second
    }
    pictures = sorted(found["fp32"].glob("golden/*.jpg"), key=lambda path: path.stat().st_size)
    if not pictures:
        raise UnavailableError("the model's golden images are no JPEGs")
    recipe = open_artifact(found["fp32"]).manifest.image_recipe
    name = json.loads(Path(run, "run.json").read_bytes())["arch"]
    return Material(
        name=name,
        text=f"{name}, {recipe.width}x{recipe.height} pixels",
        run=Path(run).absolute(),
        exported=_export(run, made / "exported.onnx"),
        updates=updates,
        image=pictures[-1],
        **found,
    )


def render_setup(setup: Setup) -> str:
    """Return the setup as JSON, for the process that measures a part."""
    return json.dumps({**asdict(setup), "environ": {}}, default=str)


def parse_setup(text: str, environ: Mapping[str, str]) -> Setup:
    """Return the setup that `render_setup` wrote, with the environment variables of this process."""
    values = json.loads(text)
    return Setup(**{**values, "models": tuple(map(_parse_material, values["models"])), "environ": environ})


def _parse_material(values: Mapping[str, Any]) -> Material:
    texts = {name: values[name] for name in ("name", "text")}
    updates = {precision: Path(path) for precision, path in values["updates"].items()}
    paths = {name: Path(path) for name, path in values.items() if name not in (*texts, "updates")}
    return Material(**texts, **paths, updates=updates)


def _digest(runs: Sequence[str]) -> str:
    """Return a digest of the runs and of the code that converts them, so that a change of either makes new models."""
    found = hashlib.sha256()
    files = [Path(run) / "run.json" for run in runs if run]
    files += [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _train(arch: str, folder: Path, shared: Path) -> tuple[str, str]:
    """Return two runs of an architecture with the same backbone and different heads, trained if they don't exist.

    Without photos of flowers and weights, one run has random weights and there is no second run.
    """
    data, weights = shared / "data/flowers/train", ARCHITECTURES[arch]
    if not data.is_dir() or (weights is not None and not (shared / weights).is_file()):
        run = folder / "random" / arch / "run"
        if not (run / "run.json").is_file():
            _run("making a model with random weights", "-m", "bench.model.random_run", arch, str(run.parent))
        return str(run), ""
    runs = []
    for name, more in ((arch, ()), (f"{arch}-2", ("--head-l2", "10"))):
        runs.append(str(folder / "runs" / name))
        if not Path(runs[-1], "run.json").is_file():
            words = build_training_words(data, arch, shared / weights if weights else None, Path(runs[-1]))
            _run(f"training {name}", "-P", "-m", "trainer", *words, *more)
    return runs[0], runs[1]


def build_training_words(data: Path, arch: str, weights: Path | None, run: Path) -> list[str]:
    """Return the options of `python -m trainer` that train an architecture on photos."""
    given = ["--weights", str(weights)] if weights else []
    return ["--path", str(data), "--arch", arch, *given, "--output", str(run)]


def _convert(run: str, output: Path, precision: str, more: Sequence[str] = ()) -> Path:
    if not (output / "manifest.json").is_file():
        words = ("-P", "-m", "converters", run, "--output", str(output), "--precision", precision, *more)
        output.parent.mkdir(parents=True, exist_ok=True)
        _run(f"converting {run} to {precision}", *words)
    return output


def _export(run: str, output: Path) -> Path:
    if not output.is_file():
        words = ("--saved-model", str(Path(run) / "model"), "--output", str(output), "--opset", OPSET)
        output.parent.mkdir(parents=True, exist_ok=True)
        _run("exporting as tf2onnx does it by itself", "-P", "-m", "tf2onnx.convert", *words)
    return output


def _run(what: str, *words: str) -> None:
    """Run this Python with the given words.

    Raises:
        UnavailableError: When the process fails.
    """
    print(what, file=sys.stderr, flush=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        raise UnavailableError(f"{what} failed with {done.returncode}: {done.stderr[-500:].strip()}")
