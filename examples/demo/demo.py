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
from collections.abc import Mapping
from pathlib import Path

HERE = Path("build/demo")
EAVES = str(Path(sys.executable).with_name("eaves"))
MAKE_PHOTOS = Path(__file__).resolve().parents[1] / "classify" / "make_photos.py"
DIGITS_EACH = 60
"""Number of images of each digit; more cost time and gain little."""
DIGITS_ACCURACY = 0.85
"""Minimum share of unseen images that the model of handwritten digits must classify correctly; 0.92 is usual."""


def main() -> int:
    """Run the whole demo, from labelled images to predictions.

    Returns:
        Exit code: 0; 1 when the model is worse than required; 66 when a given path is wrong, and nothing was changed.
    """
    options = parse_arguments()
    started = time.monotonic()
    if problem := find_problem(options):
        print(f"error: {problem}", file=sys.stderr)
        return 66
    shutil.rmtree(HERE, ignore_errors=True)
    (HERE / "inbox").mkdir(parents=True)
    if not options.data:
        subprocess.run([sys.executable, MAKE_PHOTOS, "10", str(DIGITS_EACH)], cwd=HERE, check=True)
    data = options.data.resolve() if options.data else (HERE / "photos").resolve()
    eaves("init", ".", "--name", "demo", "--data", str(data))
    with (HERE / "eaves.yaml").open("a") as file:
        file.write("sources:\n  - {name: inbox, kind: folder, path: inbox}\n")
    arch = ["--arch", options.arch] if options.arch else []
    weights = ["--weights", str(options.weights.resolve())] if options.weights else []
    run = Path(eaves("train", *arch, *weights))
    eaves("convert", str(run))
    eaves("deploy")
    served = serve(run)
    return judge(run, served, options, time.monotonic() - started)


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
    if options.data is None or not options.data.is_dir():
        return ""
    from eaves.errors import DatasetError
    from trainer.data.listing import check_labels, load_folder

    try:
        check_labels(load_folder(options.data))  # no image is read for this
    except DatasetError as error:
        return f"DATA={options.data}: {error.message}\ntry: {error.hint}"
    return ""


def serve(run: Path) -> int:
    """Start `eaves up`, copy the held-out images of a run into its inbox, and return the number of predictions."""
    truth = {Path(name).name: one["label"] for name, one in json.loads((run / "samples.json").read_text()).items()}
    unseen = sorted((run / "samples").resolve().iterdir())
    print("\n$ eaves up &\n$ cp unseen/* inbox/", flush=True)
    with (HERE / "up.log").open("w") as log:
        up = subprocess.Popen([EAVES, "up", "--port", "0"], cwd=HERE, stdout=log, stderr=log)
        try:
            for path in unseen:
                shutil.copyfile(path, HERE / "inbox" / f".{path.name}")
                (HERE / "inbox" / f".{path.name}").rename(HERE / "inbox" / path.name)
            count = wait_for_predictions(truth)
            eaves("events", "--type", "image.classified", "-n", "12", show=True)
            eaves("send", str(unseen[0]), show=True)
            eaves("status", show=True)
        finally:
            up.terminate()
            up.wait(60)
    return count


def wait_for_predictions(truth: Mapping[str, str]) -> int:
    """Wait until each image has a prediction, print how many are right, and return how many there are.

    Args:
        truth: File name to true label.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        command = [EAVES, "events", "--type", "image.classified", "-n", "1000", "-o", "json"]
        listing = subprocess.run(command, cwd=HERE, capture_output=True, check=True)
        found = {record["subject"]: record["label"] for record in json.loads(listing.stdout)}
        if len(found) >= len(truth):
            right = sum(label == truth.get(name) for name, label in found.items())
            print(f"\n{len(found)} predictions came back as CloudEvents; {right} of them are right.")
            return len(found)
        time.sleep(0.3)
    sys.exit(
        f"error: {len(found)} of {len(truth)} predictions came back in 120 s; see {HERE}/up.log and {HERE}/.eaves/logs"
    )


def judge(run: Path, served: int, options: argparse.Namespace, seconds: float) -> int:
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
