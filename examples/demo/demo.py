"""Shows the whole flow on this machine: images are trained on, converted, deployed, and new ones get predictions.

`make demo` runs it on scikit-learn's handwritten digits, real scans that come with the package. With `DATA=folder` (and
`ARCH=`, `WEIGHTS=`) it runs on your own photos, in one subfolder per class. It runs the same `eaves` commands that you
would type.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

HERE = Path("build/demo")
EAVES = str(Path(sys.executable).with_name("eaves"))
MAKE_PHOTOS = Path(__file__).resolve().parents[1] / "classify" / "make_photos.py"
DIGITS_EACH = 60
"""Number of images of each digit; more cost time and gain little."""
DIGITS_ACCURACY = 0.75
"""Share of unseen images that the model of handwritten digits must be shown to classify correctly; 0.92 is usual."""


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path, resolve_path=True), help="Your own photos.")
@click.option("--arch", help="Default: that of train.arch, efficientnet_lite0.")
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
    help="Keras weights of the architecture's backbone.",
)
def main(data: Path | None, arch: str | None, weights: Path | None) -> None:
    """Run the whole demo, from labelled images to predictions."""
    started = time.monotonic()
    for path in (data, weights):
        if path is not None and path.is_relative_to(HERE.resolve()):
            raise click.UsageError(f"{path} is inside {HERE}, which the demo removes first.")
    shutil.rmtree(HERE, ignore_errors=True)
    (HERE / "inbox").mkdir(parents=True)
    if data is None:
        subprocess.run([sys.executable, MAKE_PHOTOS, "10", str(DIGITS_EACH)], cwd=HERE, check=True)
    eaves("init", ".", "--name", "demo", "--data", str(data or (HERE / "photos").resolve()))
    with (HERE / "eaves.yaml").open("a") as file:
        file.write("sources:\n  - {name: inbox, kind: folder, path: inbox}\n")
    options = [*(["--arch", arch] if arch else []), *(["--weights", str(weights)] if weights else [])]
    run = Path(eaves("train", *options))
    eaves("convert", str(run))
    eaves("deploy")
    serve(run)
    photos, wanted = (str(data), []) if data else ("photos", ["--min-accuracy", str(DIGITS_ACCURACY)])
    eaves("evaluate", str(run), photos, *wanted, show=True)
    print(f"the whole flow took {time.monotonic() - started:.0f} s; everything is in {HERE}")


def serve(run: Path) -> None:
    """Start `eaves up`, copy the held-out images of a run into its inbox, and wait for their predictions."""
    truth = {Path(name).name: one["label"] for name, one in json.loads((run / "samples.json").read_text()).items()}
    unseen = sorted((run / "samples").resolve().iterdir())
    print("\n$ eaves up &\n$ cp unseen/* inbox/", flush=True)
    with (HERE / "up.log").open("w") as log:
        up = subprocess.Popen([EAVES, "up", "--port", "0"], cwd=HERE, stdout=log, stderr=log)
        try:
            for path in unseen:
                shutil.copyfile(path, HERE / "inbox" / f".{path.name}")
                (HERE / "inbox" / f".{path.name}").rename(HERE / "inbox" / path.name)
            wait_for_predictions(truth)
            eaves("events", "--type", "image.classified", "-n", "12", show=True)
            eaves("send", str(unseen[0]), show=True)
            eaves("status", show=True)
        finally:
            up.terminate()
            up.wait(60)


def wait_for_predictions(truth: Mapping[str, str]) -> None:
    """Wait until each image has a prediction, and print how many are right.

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
            return
        time.sleep(0.3)
    sys.exit(
        f"error: {len(found)} of {len(truth)} predictions came back in 120 s; see {HERE}/up.log and {HERE}/.eaves/logs"
    )


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
    main()
