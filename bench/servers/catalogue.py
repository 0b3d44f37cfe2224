"""Lists the servers that the benchmarks compare, Eaves among them, and installs them.

Each of the other servers gets a virtual environment of its own under build/bench. Each is started with its defaults, so
with the number of threads that its users have.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.material import FOLDER, Material, Setup
from bench.processes import Message, environment, function_command, function_environment

PEERS = Path(__file__).parent / "peers"
MODEL = ("onnxruntime==1.32.0", "numpy==2.4.6", "pillow==13.0.0")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Server:
    """One of the servers that the benchmarks compare.

    Attributes:
        name: Name of the server in tables; that of a function of Eaves begins with `Eaves`.
        threads: Threads within one prediction and concurrent predictions, with the server's defaults.
        requirements: Python packages to install; empty: the server uses this project's environment.
        command: Arguments of the Python interpreter that start the server; `{port}` stands for the port.
        environ: Additional environment variables of the server; `{port}` stands for the port.
        encode: Function that returns the request for an image, in the form that the server expects.
    """

    name: str
    threads: str
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...]
    environ: Mapping[str, str]
    encode: Callable[[bytes], Message]

    def start_words(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment that start the server at a port."""
        python = FOLDER / "servers" / self.name / "bin/python" if self.requirements else Path(sys.executable)
        command = [str(python), *(word.replace("{port}", str(port)) for word in self.command)]
        given = {name: value.replace("{port}", str(port)) for name, value in self.environ.items()}
        return command, {**environment(), **given}


def build_ours(material: Material) -> list[Server]:
    """Return the functions of Eaves: one that serves the fp32 model, and one that serves int8."""
    return [
        Server(
            name=f"Eaves, {precision}",
            threads="Eaves' default",
            command=tuple(function_command()[1:]),
            environ=function_environment(artifact, "{port}"),
            encode=as_jpeg,
        )
        for precision, artifact in material.precisions.items()
    ]


def install_peers(setup: Setup, material: Material) -> tuple[list[Server], dict[str, str]]:
    """Return the other servers of a model that could be installed, and the names of all others with the reason."""
    if not setup.has_peers:
        return [], {"other servers": "not measured, by --no-peers"}
    found, missing = [], {}
    for peer in _build_peers(material):
        if not peer.requirements or install(peer.name, peer.requirements):
            found.append(peer)
        else:
            missing[peer.name] = "its packages could not be installed"
    return found, missing


def install(name: str, requirements: Sequence[str], folder: Path = FOLDER / "servers") -> bool:
    """Install packages into the virtual environment of a server or of a tool, and return whether they are installed."""
    home = folder / name
    marker, wanted = home / "installed.txt", "\n".join(requirements)
    if marker.is_file() and marker.read_text() == wanted:
        return True
    print(f"installing {name}", file=sys.stderr, flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=False, stdout=subprocess.DEVNULL)
    words = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if made.returncode or subprocess.run([*words, *requirements], check=False, capture_output=True).returncode:
        return False
    marker.write_text(wanted)
    return True


def _build_peers(material: Material) -> list[Server]:
    served = {"MODEL": str(material.exported), "PYTHONPATH": str(PEERS)}
    framework = ("-m", "functions_framework", "--target", "predict", "--source", f"{PEERS}/with_functions_framework.py")
    return [
        Server(
            name="functions-framework",
            threads="one: a fork ends the threads of a session",
            requirements=("functions-framework==3.10.2", *MODEL),
            command=(*framework, "--host", "127.0.0.1", "--port", "{port}"),
            environ=served,
            encode=as_jpeg,
        ),
        Server(
            name="func-python",
            threads="all CPUs, one prediction at a time",
            requirements=("func-python==0.7.0", *MODEL),
            command=(str(PEERS / "with_func_python.py"),),
            environ={**served, "LISTEN_ADDRESS": "127.0.0.1:{port}"},
            encode=as_jpeg,
        ),
        Server(
            name="KServe",
            threads="all CPUs, one prediction at a time",
            requirements=("kserve==0.21.0", "onnxruntime==1.32.0", "pillow==13.0.0"),
            command=(str(PEERS / "with_kserve.py"),),
            environ={**served, "PORT": "{port}"},
            encode=as_v1,
        ),
        Server(
            name="SavedModel + Flask",
            threads="TensorFlow's pool of all CPUs, 8 at a time",
            command=(str(PEERS / "with_saved_model.py"),),
            environ={"SAVED_MODEL": f"{material.run}/model", "PORT": "{port}", "TF_CPP_MIN_LOG_LEVEL": "3"},
            encode=as_jpeg,
        ),
    ]


def as_jpeg(image: bytes) -> Message:
    """Return the request whose body is the image."""
    return Message(path="/", content_type="image/jpeg", body=image)


def as_v1(image: bytes) -> Message:
    """Return the request of KServe's protocol v1, which has the image as base64 in JSON."""
    body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
    return Message(path="/v1/models/model:predict", content_type="application/json", body=body)
