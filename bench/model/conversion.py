"""Benchmark of what a conversion costs and improves, compared with a conversion by tf2onnx alone.

The variable EAVES_BENCH_RUN names the run to convert. EAVES_BENCH_RUN2 names a run with another head on the same
backbone; it is used to measure how much of the artifact changes in an update of the head. The required limits beside
the numbers are those of Inception V3 with a head of five classes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.material import best_target
from bench.measure.process import Cost, run_measured
from bench.measure.timing import print_columns
from eaves.artifact import FP32, INT8, Artifact, open_artifact
from eaves.artifact.manifest import FileEntry
from eaves.artifact.store import MODEL, file_digest

ROOT = Path(__file__).parents[2]
OPSET = 17
PROCESSES = 7
"""Number of new processes that open each model; the models alternate."""
SPLIT = (MODEL, "weights/backbone.bin")
SESSION_BAR = {FP32: 0.60, INT8: 0.25}
SPEED_BAR = 2.2
DROP_BAR = 3.0
MEMORY_BAR_MB = 1500
HEAD_BAR = {FP32: 500, INT8: 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One completed conversion.

    Attributes:
        what: Name of the conversion in the tables: its precision and target.
        artifact: The resulting artifact.
        cost: Elapsed time and memory that the conversion needed.
    """

    what: str
    artifact: Artifact
    cost: Cost


def main() -> None:
    """Convert the run that EAVES_BENCH_RUN names in several ways, measure each conversion, and print the tables."""
    run, second = (os.environ.get(name, "") for name in ("EAVES_BENCH_RUN", "EAVES_BENCH_RUN2"))
    if not run:
        print("\nconversion: set EAVES_BENCH_RUN to a run (and EAVES_BENCH_RUN2 to another head on its backbone)")
        return
    target = best_target()
    with tempfile.TemporaryDirectory() as folder:
        made = _convert_all(Path(run).absolute(), Path(folder), target)
        print_models(made, Path(run).absolute(), Path(folder), target)
        print_int8([made[name] for name in made if _precision(name) == INT8 and not name.endswith("again")])
        print_costs(made)
        print_identity([(made[name], made[f"{name}, again"]) for name in made if f"{name}, again" in made])
        if second:
            others = _convert_second(Path(second).absolute(), Path(folder), target, made)
            print_update([(made[name], other) for name, other in others.items()])
        else:
            print("\nupdate of the head: set EAVES_BENCH_RUN2 to a run with another head on the same backbone")


def _convert_all(run: Path, folder: Path, target: str) -> dict[str, Converted]:
    wanted = [(FP32, ""), (INT8, "")] + ([(FP32, target), (INT8, target)] if target else [])
    made = {_name(*one): _convert(run, folder, *one) for one in wanted}
    again = {f"{_name(*one)}, again": _convert(run, folder / "again", *one) for one in _shipped(target)}
    return made | again


def _convert_second(run: Path, folder: Path, target: str, made: Mapping[str, Converted]) -> dict[str, Converted]:
    """Convert the second run, whose model has another head, as an update of the artifacts of the first run.

    Each conversion gets the artifact of the first run as `--previous`, so that it can reuse its backbone.
    """
    return {
        _name(*one): _convert(run, folder / "second", *one, previous=made[_name(*one)].artifact.path)
        for one in _shipped(target)
    }


def _shipped(target: str) -> list[tuple[str, str]]:
    """Return precision and target of the artifacts that are compared: portable fp32, and int8 for this CPU's target."""
    return [(FP32, ""), (INT8, target)]


def _name(precision: str, target: str) -> str:
    return f"{precision}, {target or 'no targets'}"


def _convert(run: Path, folder: Path, precision: str, target: str, *, previous: Path | None = None) -> Converted:
    name = _name(precision, target)
    print(f"converting {run.name}: {name}", file=sys.stderr)
    # Each conversion has its own directory, because it reuses artifacts beside its own.
    output = folder / name.replace(", ", "-").replace(" ", "-") / "artifact"
    cost = run_measured(command(run, output, precision, target, previous))
    return Converted(what=name, artifact=open_artifact(output), cost=cost)


def command(run: Path, output: Path, precision: str, target: str, previous: Path | None) -> list[str]:
    """Return the command line that converts a run.

    For int8 the command has `--precision auto`, so the manifest contains the accuracy of int8 even when the converter
    decides to use fp32.
    """
    words = [sys.executable, "-P", "-m", "converters", str(run), "--output", str(output)]
    words += ["--precision", "auto" if precision == INT8 else precision]
    words += ["--targets", target] if target else []
    return [*words, "--previous", str(previous)] if previous else words


def print_models(made: Mapping[str, Converted], run: Path, folder: Path, target: str) -> None:
    """Print how long each model takes to open and to run, and the ratio of int8's images per second to fp32's."""
    exported, tensor = _export(run, folder), folder / "tensor.npy"
    portable = made[f"{FP32}, no targets"].artifact
    np.save(tensor, _image(portable)[np.newaxis])
    models = {"exported": f"onnx:{exported}", "fp32, portable": f"portable:{portable.path}"}
    if target and made[f"{FP32}, {target}"].artifact.manifest.variants:
        models[f"fp32, variant {target}"] = f"served:{made[f'{FP32}, {target}'].artifact.path}"
    for name, one in made.items():
        if name in (f"{INT8}, no targets", f"{INT8}, {target}"):
            models[name + _doubt(one.artifact)] = f"served:{one.artifact.path}"
    _print_opened(models, tensor)
    _print_speed(models, tensor)


def _print_opened(models: Mapping[str, str], tensor: Path) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for number in range(PROCESSES):
        print(f"opening every model: {number + 1} of {PROCESSES}", file=sys.stderr)
        for name, model in models.items():
            found[name].append(_ask("one", model, str(tensor)))
    medians = {
        name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in found.items()
    }
    floor, rows = medians["exported"], []
    for name, row in medians.items():
        numbers = [f"{row[key]:.1f}" for key in ("session_ms", "run_ms", "private_mb", "before_mb")]
        ratios = [f"{row[key] / floor[key]:.2f}" for key in ("session_ms", "run_ms", "private_mb")]
        rows.append([name, *numbers, ratios[0], str(SESSION_BAR.get(_precision(name), "")), *ratios[1:]])
    heads = [
        "",
        "session ms",
        "run ms",
        "private MB",
        "before opening",
        "session ratio",
        "bar",
        "run ratio",
        "private ratio",
    ]
    title = f"models, one thread, processor time, medians of {PROCESSES} fresh processes; ratios to the exported"
    print_columns(title, heads, rows)


def _print_speed(models: Mapping[str, str], tensor: Path) -> None:
    rows = []
    for name, model in models.items():
        for other, reference in models.items():
            if _precision(name) == INT8 and _precision(other) == FP32:
                found = _ask("pair", model, reference, str(tensor))
                first, second = found["first_ms"], found["second_ms"]
                rows.append([name, f"{first:.1f}", other, f"{second:.1f}", f"{second / first:.2f}", str(SPEED_BAR)])
    heads = ["", "ms", "beside:", "ms", "images/s ratio", "bar"]
    print_columns("int8 beside fp32, one thread, one image, runs in turn in one process", heads, rows)


def print_int8(made: Sequence[Converted]) -> None:
    """Print how much accuracy each int8 model lost, measured on the labelled images of its conversion.

    These images weren't used for training.
    """
    rows = []
    for one in made:
        found, name = one.artifact.manifest.quantisation, one.what + _doubt(one.artifact)
        if not found.trials:
            rows.append([name, *[""] * 8, f"no trial: {found.reason}"])
        for trial in (trial for trial in found.trials if trial.judged):
            numbers = [str(found.images), f"{found.accuracy_fp32:.3f}", f"{trial.accuracy:.3f}"]
            numbers += [" - ".join(f"{edge:.3f}" for edge in trial.interval_95), f"{trial.agreement:.1%}"]
            numbers += [f"{trial.drop * 100:+.2f}", str(DROP_BAR), f"{trial.size_bytes / 1e6:.1f}"]
            rows.append([name, *numbers, ", ".join(["the head", *trial.kept_fp32])])
    heads = ["", "images", "fp32", "int8", "95 % interval", "same label", "drop", "bar", "MB", "kept in fp32:"]
    print_columns("int8's accuracy on labelled images that no training saw, drop in points", heads, rows)


def print_costs(made: Mapping[str, Converted]) -> None:
    """Print the elapsed time and the memory that each conversion needed, and the size of its artifact."""
    rows = []
    for name, one in made.items():
        cost, size = one.cost, one.artifact.size_bytes / 1e6
        numbers = [f"{cost.seconds:.1f}", f"{cost.largest_mb:.0f}", str(MEMORY_BAR_MB), f"{cost.together_mb:.0f}"]
        rows.append([name, *numbers, f"{size:.2f}"])
    heads = ["", "s", "largest process, MB", "bar", "all processes, MB", "artifact, MB"]
    print_columns("conversions", heads, rows)


def print_identity(pairs: Sequence[tuple[Converted, Converted]]) -> None:
    """Print which files differ between two conversions of the same run; no file should differ."""
    rows = []
    for first, second in pairs:
        files, others = all_files(first.artifact), all_files(second.artifact)
        different = sorted(name for name in files.keys() | others.keys() if files.get(name) != others.get(name))
        rows.append([first.what, str(len(files)), str(len(different)), "0", ", ".join(different)])
    print_columns("two conversions of one run", ["", "files", "different", "bar", "which:"], rows)


def print_update(pairs: Sequence[tuple[Converted, Converted]]) -> None:
    """Print which files of an artifact change when only the head changes, and their share of the artifact's bytes.

    Each pair has the artifact before the update and the one after it.
    """
    rows = []
    for first, second in pairs:
        files, others = all_files(first.artifact), all_files(second.artifact)
        changed = {name: entry.size_bytes for name, entry in others.items() if files.get(name) != entry}
        total, update = sum(entry.size_bytes for entry in others.values()), sum(changed.values())
        numbers = [
            str(update),
            str(total),
            f"1/{total / update:.0f}" if update else "0",
            f"1/{HEAD_BAR[_precision(first.what)]}",
        ]
        same = ["yes" if name in files and files[name] == others.get(name) else "no" for name in SPLIT]
        largest = sorted(changed.items(), key=lambda item: -item[1])
        rows.append([first.what, *numbers, *same, ", ".join(f"{name} {size}" for name, size in largest)])
    heads = ["", "bytes that change", "of", "share", "bar", *(f"same {name}" for name in SPLIT), "which:"]
    print_columns("update of the head", heads, rows)


def all_files(artifact: Artifact) -> dict[str, FileEntry]:
    """Return size and digest, read from disk, of every file of an artifact, including its manifest."""
    paths = [path for path in artifact.path.rglob("*") if path.is_file()]
    return {
        path.relative_to(artifact.path).as_posix(): FileEntry(size_bytes=path.stat().st_size, sha256=file_digest(path))
        for path in sorted(paths)
    }


def _precision(name: str) -> str:
    return name.partition(",")[0]


def _doubt(artifact: Artifact) -> str:
    """Return ` (fp32 shipped)` if the artifact of an int8 conversion contains an fp32 model, else an empty text."""
    return "" if artifact.manifest.precision == INT8 else " (fp32 shipped)"


def _export(run: Path, folder: Path) -> Path:
    """Export the run's model with tf2onnx alone, into one file that contains the weights; return its path."""
    output = folder / "exported.onnx"
    print("exporting as tf2onnx does it by itself", file=sys.stderr)
    words = ["--saved-model", str(run / "model"), "--output", str(output), "--opset", str(OPSET)]
    cost = run_measured([sys.executable, "-P", "-m", "tf2onnx.convert", *words])
    size = output.stat().st_size / 1e6
    print(f"\ntf2onnx by itself: {cost.seconds:.1f} s, {cost.largest_mb:.0f} MB of memory, {size:.1f} MB written")
    return output


def _image(artifact: Artifact) -> np.ndarray:
    """Return the artifact's first golden image as the input array of a model."""
    picture = next(path for path in sorted((artifact.path / "golden").iterdir()) if path.suffix != ".json")
    return artifact.manifest.image_recipe.tensor(picture.read_bytes())


def _ask(*arguments: str) -> dict[str, float]:
    asked = subprocess.run(
        [sys.executable, "-m", "bench.model.opened", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if asked.returncode:
        sys.exit(f"error: opening {' '.join(arguments)} failed:\n{asked.stderr[-2000:]}")
    found: dict[str, float] = json.loads(asked.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
