"""Benchmark that compares a function with other model servers that serve the same fp32 model.

It measures cold start, speed, large images, memory, and the response to a damaged image. Each of the other servers is
installed into a virtual environment of its own under build/bench; a server that can't be installed is listed as such in
the table. When EAVES_BENCH_RUN names a run, a server of the run's SavedModel is measured too; that server uses this
project's environment, which has TensorFlow.
"""

from __future__ import annotations

import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from PIL import Image

from bench.function.process import (
    FUNCTION,
    ROOT,
    Message,
    Start,
    cpu_ms,
    environment,
    function_environment,
    measure_bare,
    measure_start,
    started,
)
from bench.function.process import first_answer as wait_for_answer
from bench.function.start import Material, open_material
from bench.measure.process import tree
from bench.measure.timing import print_columns
from tests.ports import find_port

PEERS = Path(__file__).parent / "peers"
VENVS = ROOT / "build/bench"
MODEL = ("onnxruntime==1.32.0", "numpy==2.4.6", "pillow==13.0.0")
ROUNDS = 5
"""Number of cold starts of each server; the servers alternate."""
REQUESTS = 40
"""Number of requests that are sent one after the other over one connection, to measure the time of one image."""
SENDERS, LOAD_S = 8, 5.0
LARGE = (4000, 3000)
LARGE_REQUESTS = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """One of the servers that the benchmark compares, including Eaves.

    Attributes:
        name: Name of the server in the table.
        requirements: Python packages to install for the server; empty: the server uses this project's environment.
        command: Arguments of the Python interpreter that start the server; `{port}` stands for the port.
        environ: Additional environment variables of the server; `{port}` stands for the port.
        encode: Function that returns the request for an image, in the form that the server expects.
    """

    name: str
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...]
    environ: Mapping[str, str]
    encode: Callable[[bytes], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Measurements of a server that is running already.

    Attributes:
        one_ms: Median time of a request when images are sent one at a time, ms.
        cpu_ms: CPU time that all processes of the server use for one image when images are sent one at a time, ms.
        images_s: Images per second when `SENDERS` connections send at the same time.
        large_ms: Median time of a request with a 12-megapixel JPEG, ms.
        truncated: HTTP status with which the server responds to the first half of a JPEG, or a note that the connection
            broke.
    """

    one_ms: float
    cpu_ms: float
    images_s: float
    large_ms: float
    truncated: str


def main() -> None:
    """Measure all servers with the models that the environment names, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        material = open_material(Path(folder))
        if material is None:
            print("\nfunction_peers: set EAVES_BENCH_RUN to a run, or the variables that bench/function/start.py names")
            return
        print_peers(material, os.environ.get("EAVES_BENCH_RUN", ""))


def print_peers(material: Material, run: str) -> None:
    """Measure Eaves and the other servers, and print the table.

    `run` is the path of the run whose SavedModel is served too; empty: no SavedModel is measured.
    """
    installed, missing = {}, []
    for peer in _peers(material, run):
        python = install(peer)
        if python is None:
            missing.append(peer.name)
        else:
            installed[peer] = python
    starts, bare = _measure_starts(material, installed)
    rows = []
    for peer, python in installed.items():
        print(f"requests to {peer.name}", file=sys.stderr)
        rows.append(_row(peer, starts[peer], bare, _measure_load(peer, python, material.image)))
    rows += [[name, *[""] * 10, "installation failed"] for name in missing]
    if not run:
        rows.append(["SavedModel, Flask", *[""] * 10, "needs EAVES_BENCH_RUN"])
    heads = ["", "start ms", "CPU ms", "of bare", "CPU of bare", "PSS MB", "of bare RSS", "one image ms", "its CPU ms"]
    heads += [f"images/s, {SENDERS} senders", "12 MP ms", "half a JPEG"]
    print_columns(f"the same fp32 model behind other servers; starts: medians of {ROUNDS}", heads, rows)


def install(peer: Peer) -> Path | None:
    """Install a server's packages into its own virtual environment, and return the path of its Python interpreter.

    Return None when the packages can't be installed.
    """
    if not peer.requirements:
        return Path(sys.executable)
    folder = VENVS / peer.name
    marker, wanted = folder / "installed.txt", "\n".join(peer.requirements)
    python = folder / "bin/python"
    if marker.is_file() and marker.read_text() == wanted:
        return python
    print(f"installing {peer.name}", file=sys.stderr)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=False, stdout=subprocess.DEVNULL)
    words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    if made.returncode or subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode:
        return None
    marker.write_text(wanted)
    return python


def write_large(image: Path) -> bytes:
    """Return the image as a JPEG of 12 megapixels."""
    stream = io.BytesIO()
    Image.open(image).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _peers(material: Material, run: str) -> list[Peer]:
    served = {"MODEL": str(material.exported), "PYTHONPATH": str(PEERS)}
    framework = ("-m", "functions_framework", "--target", "predict", "--source", f"{PEERS}/with_functions_framework.py")
    peers = [
        Peer(
            name="eaves",
            command=FUNCTION[1:],
            environ=function_environment(material.fp32, "{port}"),
            encode=_as_jpeg,
        ),
        Peer(
            name="functions-framework",
            requirements=("functions-framework==3.10.2", *MODEL),
            command=(*framework, "--host", "127.0.0.1", "--port", "{port}"),
            environ=served,
            encode=_as_jpeg,
        ),
        Peer(
            name="func-python",
            requirements=("func-python==0.7.0", *MODEL),
            command=(str(PEERS / "with_func_python.py"),),
            environ={**served, "LISTEN_ADDRESS": "127.0.0.1:{port}"},
            encode=_as_jpeg,
        ),
        Peer(
            name="kserve",
            requirements=("kserve==0.21.0", "onnxruntime==1.32.0", "pillow==13.0.0"),
            command=(str(PEERS / "with_kserve.py"),),
            environ={**served, "PORT": "{port}"},
            encode=_as_v1,
        ),
    ]
    if run:
        saved = {"SAVED_MODEL": str(Path(run).absolute() / "model"), "PORT": "{port}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = (str(PEERS / "with_saved_model.py"),)
        peers.append(Peer(name="SavedModel, Flask", command=command, environ=saved, encode=_as_jpeg))
    return peers


def _as_jpeg(image: bytes) -> Message:
    return Message(path="/", content_type="image/jpeg", body=image)


def _as_v1(image: bytes) -> Message:
    body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
    return Message(path="/v1/models/model:predict", content_type="application/json", body=body)


def _start_words(peer: Peer, python: Path, port: int) -> tuple[list[str], dict[str, str]]:
    command = [str(python), *(word.replace("{port}", str(port)) for word in peer.command)]
    given = {name: value.replace("{port}", str(port)) for name, value in peer.environ.items()}
    return command, environment(**given)


def _measure_starts(material: Material, installed: Mapping[Peer, Path]) -> tuple[dict[Peer, list[Start]], list[Start]]:
    image = material.image.read_bytes()
    found: dict[Peer, list[Start]] = {peer: [] for peer in installed}
    bare = []
    for number in range(ROUNDS + 1):  # the first round compiles byte code and fills the page cache
        print(f"starting every server: round {number} of {ROUNDS}", file=sys.stderr)
        floor = measure_bare(material.exported, material.image)
        bare += [floor] if number else []
        for peer, python in installed.items():
            port = find_port()
            start = measure_start(*_start_words(peer, python, port), port, peer.encode(image))
            found[peer] += [start] if number else []
    return found, bare


def _measure_load(peer: Peer, python: Path, image: Path) -> Load:
    port = find_port()
    small, large = image.read_bytes(), write_large(image)
    with started(*_start_words(peer, python, port)) as process:
        wait_for_answer(process, port, peer.encode(small))
        _times_ms(port, peer.encode(small), 5)
        before = sum(map(cpu_ms, tree(process.pid)))
        times = _times_ms(port, peer.encode(small), REQUESTS)
        return Load(
            one_ms=statistics.median(times),
            cpu_ms=(sum(map(cpu_ms, tree(process.pid))) - before) / REQUESTS,
            images_s=_throughput(port, peer.encode(small)),
            large_ms=statistics.median(_times_ms(port, peer.encode(large), LARGE_REQUESTS)),
            truncated=_fate(port, peer.encode(small[: len(small) // 2])),
        )


def _times_ms(port: int, message: Message, count: int) -> list[float]:
    connection, times = HTTPConnection("127.0.0.1", port, timeout=60), []
    for _ in range(count):
        start = time.perf_counter()
        _ask(connection, message)
        times.append((time.perf_counter() - start) * 1000)
    connection.close()
    return times


def _throughput(port: int, message: Message) -> float:
    counts, end = [0] * SENDERS, time.perf_counter() + LOAD_S

    def send(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end:
            counts[number] += _ask(connection, message) == 200
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def _ask(connection: HTTPConnection, message: Message) -> int:
    connection.request("POST", message.path, message.body, {"Content-Type": message.content_type})
    response = connection.getresponse()
    response.read()
    return response.status


def _fate(port: int, message: Message) -> str:
    """Send a request, and return the HTTP status of its response, or a note that the connection broke."""
    try:
        return str(_ask(HTTPConnection("127.0.0.1", port, timeout=60), message))
    except (HTTPException, ConnectionError):
        return "connection closed"


def _row(peer: Peer, starts: Sequence[Start], bare: Sequence[Start], load: Load) -> list[str]:
    def median(values: Sequence[Start], name: str) -> float:
        return statistics.median(getattr(one, name) for one in values)

    pss = median(starts, "proportional_mb")
    numbers = [f"{median(starts, name):.0f}" for name in ("wall_ms", "cpu_ms")]
    numbers += [f"{median(starts, name) / median(bare, name):.2f}" for name in ("wall_ms", "cpu_ms")]
    numbers += [f"{pss:.0f}", f"{pss / median(bare, 'resident_mb'):.2f}", f"{load.one_ms:.1f}", f"{load.cpu_ms:.1f}"]
    return [peer.name, *numbers, f"{load.images_s:.1f}", f"{load.large_ms:.0f}", load.truncated]


if __name__ == "__main__":
    main()
