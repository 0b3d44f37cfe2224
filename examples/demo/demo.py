"""Shows the whole flow on this machine: images are trained on, converted, deployed, and new ones get predictions.

`make demo` runs it on scikit-learn's handwritten digits, real scans that come with the package. With `DATA=folder` (and
`ARCH=`, `WEIGHTS=`) it runs on your own photos, in one subfolder per class. It runs the same `eaves` commands that you
would type.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path("build/demo")
EAVES = str(Path(sys.executable).with_name("eaves"))
DIGITS_EACH = 60
"""Number of images of each digit; more cost time and gain little."""
DIGITS_ACCURACY = 0.85
"""Minimum share of unseen images that the model of handwritten digits must classify correctly; 0.92 is usual."""


def main() -> int:
    """Run the whole demo, from labelled images to predictions.

    Returns:
        Exit code: 0; 1 when the model is worse than required; 66 when a given path is wrong, and nothing was changed.

    Returns:
        0; 1 when the model is worse than required; 66 when a path is wrong, and nothing was changed.
    """
    options = parse_arguments()
    started = time.monotonic()
    if problem := find_problem(options):
        print(f"error: {problem}", file=sys.stderr)
        return 66
    shutil.rmtree(HERE, ignore_errors=True)
    (HERE / "inbox").mkdir(parents=True)
    data = options.data.resolve() if options.data else write_digits(HERE / "digits")
    eaves("init", ".", "--name", "demo", "--data", str(data))
    with (HERE / "eaves.yaml").open("a") as file:
        file.write("sources:\n  - {name: inbox, kind: folder, path: inbox}\n")
    arch = ["--arch", options.arch] if options.arch else []
    weights = ["--weights", str(options.weights.resolve())] if options.weights else []
    run = Path(eaves("train", *arch, *weights))
    eaves("convert", str(run))
    eaves("deploy")
    truth = serve(run)
    return judge(run, truth, options, time.monotonic() - started)


def parse_arguments() -> argparse.Namespace:
    """Parse the arguments that the Makefile passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with one subfolder of images per class")
    parser.add_argument("--arch", help="default: that of train.arch, efficientnet_lite0")
    parser.add_argument("--weights", type=Path, help="Keras weights of the architecture's backbone")
    parser.add_argument("--min-accuracy", type=float, help="fail below this")
    return parser.parse_args()


def find_problem(options: argparse.Namespace) -> str:
    """Return what is wrong with the given paths; empty: nothing.

    It is called before the files of the previous demo are removed.
    """
    for name, path in (("DATA", options.data), ("WEIGHTS", options.weights)):
        if path is not None and not path.exists():
            return f"{name}={path}: no such file or folder"
        if path is not None and HERE.resolve() in (path.resolve(), *path.resolve().parents):
            return f"{name}={path} is inside {HERE}, which the demo removes first"
    if options.weights is not None and not options.weights.is_file():
        return f"WEIGHTS={options.weights} is a folder; it must be a file of Keras weights"
    return find_data_problem(options.data) if options.data is not None and options.data.is_dir() else ""


def find_data_problem(folder: Path) -> str:
    """Return why a folder of images is unsuitable for training; empty: it is suitable. No image is read for this."""
    from eaves.errors import DatasetError
    from trainer.data.listing import check_labels, load_folder

    try:
        check_labels(load_folder(folder))
    except DatasetError as error:
        return f"DATA={folder}: {error.message}\ntry: {error.hint}"
    return ""


def write_digits(folder: Path) -> Path:
    """Write `DIGITS_EACH` images of each digit of the UCI optical recognition test set, 8x8 grey, as PNG files."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    written: Counter[int] = Counter()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        written[label] += 1
        if written[label] > DIGITS_EACH:
            continue
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(path)
    return folder.resolve()


def serve(run: Path) -> dict[str, str]:
    """Start `eaves up`, copy the run's held-out images into its inbox, and print the predictions.

    Returns:
        File name of each image that got a prediction, and its true label.

    Returns:
        File name to true label.
    """
    truth = {
        Path(name).name: sample["label"] for name, sample in json.loads((run / "samples.json").read_text()).items()
    }
    log = (HERE / "up.log").open("w")
    print("\n$ eaves up &\n$ cp unseen/* inbox/", flush=True)
    up = subprocess.Popen([EAVES, "up", "--port", "0"], cwd=HERE, stdout=log, stderr=log)
    try:
        for path in (run / "samples").iterdir():
            shutil.copyfile(path, HERE / "inbox" / f".{path.name}")
            (HERE / "inbox" / f".{path.name}").rename(HERE / "inbox" / path.name)
        predictions = wait_for_predictions(len(truth))
        eaves("send", str(next(iter(sorted((run / "samples").iterdir()))).resolve()), show=True)
        eaves("status", show=True)
    finally:
        up.terminate()
        up.wait(60)
        log.close()
    print_predictions(predictions, truth)
    return {name: truth[name] for name in truth if any(found["subject"] == name for found in predictions)}


def wait_for_predictions(count: int) -> list[dict[str, object]]:
    """Wait until there are predictions for `count` different images, and return their events."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        listing = subprocess.run(
            [EAVES, "events", "-n", "1000", "-o", "json"], cwd=HERE, capture_output=True, check=True
        )
        records = json.loads(listing.stdout)
        captured = {record["id"]: record["at"] for record in records if record["type"] == "dev.eaves.image.captured.v1"}
        answers = [record for record in records if record["type"] == "dev.eaves.image.classified.v1"]
        found = {record["subject"]: record for record in answers}
        if len(found) >= count:
            for record in found.values():
                record["flow_ms"] = (record["at"] - captured[record["extensions"]["causeid"]]) * 1000
            return list(found.values())
        time.sleep(0.3)
    sys.exit(f"error: {len(found)} of {count} predictions came back in 120 s; see {HERE}/up.log and {HERE}/.eaves/logs")


def print_predictions(predictions: list[dict[str, object]], truth: dict[str, str]) -> None:
    """Print a table of prediction events."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("IMAGE", "TRUE", "PREDICTED", "SCORE", "MODEL MS", "IN > OUT MS", "EVENT", box=box.SIMPLE_HEAD)
    for record in predictions[:12]:
        timings = record["data"]["timings_ms"]
        mark = "" if record["label"] == truth[record["subject"]] else " (wrong)"
        label, score = f"{record['label']}{mark}", f"{record['score']:.3f}"
        model_ms, flow_ms = f"{sum(timings.values()):.1f}", f"{record['flow_ms']:.0f}"
        table.add_row(record["subject"], truth[record["subject"]], label, score, model_ms, flow_ms, record["id"][:12])
    print(f"\n{len(predictions)} predictions came back as CloudEvents (the first {min(12, len(predictions))}):")
    Console(width=120, highlight=False, markup=False).print(table)
    right = sum(record["label"] == truth[record["subject"]] for record in predictions)
    print(f"{right} of {len(predictions)} are right.")


def judge(run: Path, served: dict[str, str], options: argparse.Namespace, seconds: float) -> int:
    """Print how good the model is on unseen images, and return the exit code: 0 if it is good enough, else 1."""
    metrics = json.loads((run / "metrics.json").read_text())
    accuracy, (low, high) = metrics["val_accuracy"], metrics["val_accuracy_interval_95"]
    verdict = json.loads((run / "run.json").read_text())["verdict"]
    wanted = options.min_accuracy or (0.0 if options.data else DIGITS_ACCURACY)
    print(f"accuracy on unseen images: {accuracy:.3f} ({low:.3f} to {high:.3f})", end="")
    print(f", at least {wanted:.2f} wanted" if wanted else "")
    print(f"verdict: {verdict['text']}")
    print(f"the whole flow took {seconds:.0f} s; everything is in {HERE}")
    return 0 if accuracy >= wanted and verdict["kind"] not in ("guessing", "unknown") and served else 1


def eaves(*arguments: str, show: bool = False) -> str:
    """Run one `eaves` command in the demo's directory, and return its last line of output."""
    print(f"\n$ eaves {' '.join(arguments)}", flush=True)
    done = subprocess.run([EAVES, *arguments], cwd=HERE, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    output = done.stdout.rstrip()
    print(output if show else output.splitlines()[-1] if output else "")
    return output.splitlines()[-1] if output else ""


if __name__ == "__main__":
    sys.exit(main())
