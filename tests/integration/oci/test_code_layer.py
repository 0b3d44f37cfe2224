"""Our code in the edge's container images: all that their processes import, and nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import eaves
from eaves.artifact import Artifact
from eaves.events import Event, encode_binary, encode_structured
from eaves.oci.layers.bytecode import Compiler
from eaves.oci.layers.image import Image, load_image
from eaves.oci.layout import open_layout
from eaves.oci.runtime import CODE, PROCESSES, code_files, unpack
from eaves.plugins.camera.decoder_process import DECODER
from eaves.plugins.camera.messages import Ended, StreamRequest, build_request, read_message
from tests.container_images.packaging import VERSION, build_base, run_package
from tests.fakes.models.graph import write_graph_artifact
from tests.inputs.videos import need_av
from tests.processes.agents import PNG, AgentProcess
from tests.processes.commands import run_command
from tests.processes.function import Function
from tests.processes.receiving import TOKEN, ReceiverProcess, write_site
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until

ROOT = Path(eaves.__file__).parents[1]
OURS = ("eaves", "functions", "trainer", "converters", "knative")
RUN_IMPORTS = """
import ast, sys
from pathlib import Path

def statements(node):
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from statements(child)

failed = []
for path in sorted(Path(sys.argv[1]).rglob("*.py")):
    for statement in statements(ast.parse(path.read_text())):
        line = ast.unparse(statement)
        if "__future__" in line:
            continue
        try:
            exec(line, {})
        except ImportError as error:
            failed.append(f"{path}: {line}: {error}")
print("\\n".join(failed))
"""
"""Runs each import of a folder's sources, wherever it stands, and prints what fails."""


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder with our code of each container image."""
    found = {}
    for image in PROCESSES:
        root = tmp_path_factory.mktemp(image)
        unpack(code_files(image), Compiler(program=sys.executable, version=VERSION), root)
        found[image] = root / CODE
    return found


@pytest.fixture(scope="module")
def only(layers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The PYTHONPATH with which a process finds, of our code, a container image's only."""
    absent = tmp_path_factory.mktemp("absent")
    for name in OURS:
        (absent / f"{name}.py").write_text("raise ImportError(f'{__name__} is not in this container image')\n")
    return lambda image: f"{layers[image]}:{absent}"


@pytest.mark.parametrize("image", PROCESSES)
@pytest.mark.long("container images are built and read by other tools")
def test_every_import_of_the_code_can_be_run_with_nothing_else_of_ours(image: str, layers: dict[str, Path]):
    """Those within functions too, which a process runs late or never in a test."""
    packages = ":".join(path for path in sys.path if Path(path).name == "site-packages")
    done = run_command(
        [sys.executable, "-S", "-P", "-c", RUN_IMPORTS, str(layers[image])],
        env={"PYTHONPATH": f"{layers[image]}:{packages}"},
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("image", PROCESSES)
def test_a_name_that_is_made_at_run_time_is_never_one_of_ours(image: str, layers: dict[str, Path]):
    """The graph reads names that stand in the sources; a name that is put together would be missed."""
    sources = [ast.parse(path.read_text()) for path in layers[image].rglob("*.py")]
    made = [node.values[0] for source in sources for node in ast.walk(source) if isinstance(node, ast.JoinedStr)]
    starts = [str(part.value) for part in made if isinstance(part, ast.Constant)]
    assert len(starts) > 10
    assert [start for start in starts if start.startswith(tuple(f"{room}." for room in OURS))] == []


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_graph_artifact(tmp_path_factory.mktemp("artifact") / "colours")


def test_a_function_does_its_work(artifact: Artifact, tmp_path: Path, only: Callable[[str], str]):
    hosts = {"EAVES_DATAREF_HOSTS": "127.0.0.1", "EAVES_DATAREF_SCHEMES": "http"}
    function = Function(artifact.path, tmp_path, **hosts, PYTHONPATH=only("function"))
    try:
        function.wait_ready()
        image = (artifact.path / "golden/000.png").read_bytes()
        statuses = list(_statuses(function, image, artifact.manifest.name))
        assert statuses == [200, 200, 200, 200, 200, 200, 503], function.log
        assert function.stop() == 0, function.log
        assert "ImportError" not in function.log
        assert "ModuleNotFoundError" not in function.log
    finally:
        function.process.kill()
        function.process.wait()


def _statuses(function: Function, image: bytes, model: str) -> Iterator[int]:
    """Statuses of requests that load what a start doesn't."""
    yield function.request("POST", "/", image, Content_Type="image/png")[0]
    event = Event(id="1", source="/a", type="dev.eaves.image.captured.v1", data=image, datacontenttype="image/png")
    for encode in (encode_binary, encode_structured):
        headers, body = encode(event)
        yield function.request("POST", "/", body, **{name.replace("-", "_"): text for name, text in headers.items()})[0]
    for path in ("/metrics", "/v2", f"/v2/models/{model}"):
        yield function.request("GET", path)[0]
    elsewhere = Event(
        id="2", source="/a", type=event.type, datacontenttype="image/png", extensions={"dataref": "http://127.0.0.1/a.png"}
    )  # fmt: skip
    headers, _ = encode_binary(elsewhere)  # the address is this machine's, so the sender waits for another
    yield function.request("POST", "/", b"", **{name.replace("-", "_"): text for name, text in headers.items()})[0]


def test_the_decoder_of_an_agent_starts(tmp_path: Path, only: Callable[[str], str]):
    """It is a process of its own, which no import names."""
    need_av()
    with subprocess.Popen(
        DECODER, cwd=tmp_path, env={"PYTHONPATH": only("agent")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(build_request(StreamRequest(url=str(tmp_path / "absent.mp4"))))
        process.stdin.flush()  # a decoder whose stdin is closed ends, as its parent is gone
        message = read_message(process.stdout, 1)
        assert isinstance(message, Ended), process.stderr.read().decode()
        assert message.code == "not_found"


def test_an_agent_a_relay_and_a_receiver_pass_an_image_on(tmp_path: Path, only: Callable[[str], str]):
    path, kept = only("agent"), tmp_path / "kept"
    write_site(tmp_path / "sites", "north")
    (tmp_path / "token").mkdir()
    (tmp_path / "token/token").write_text(f"{TOKEN}\n")
    kept.mkdir()
    with (
        ReceiverProcess(tmp_path, PYTHONPATH=path, EAVES_FOLDER=str(kept)) as receiver,
        RelayProcess(
            tmp_path / "relay",
            f"http://127.0.0.1:{receiver.port}",
            EAVES_CREDENTIALS=str(tmp_path / "token"),
            EAVES_IMAGES="all",
            PYTHONPATH=path,
        ) as relay,
    ):
        agent = AgentProcess(tmp_path / "agent", f"http://127.0.0.1:{relay.port}", EAVES_SITE="north", PYTHONPATH=path)
        agent.start()
        try:
            assert agent.run_queue("list").returncode == 0
            (agent.inbox / "a.png").write_bytes(PNG)
            wait_until(lambda: any(PNG in file.read_bytes() for file in kept.rglob("*") if file.is_file()), 30)
        finally:
            agent.stop()


@pytest.mark.long("container images of changed code are made")
def test_only_the_layer_of_our_code_follows_our_code(artifact: Artifact, oci_cache: Path, tmp_path: Path):
    """Packaged with the code as it is, with a file changed that a function imports, and with one that it doesn't."""
    build_base(tmp_path / "base")
    made = {}
    for name, changed in {"now": "", "other": "functions/service.py", "same": "eaves/cli/output.py"}.items():
        tree = tmp_path / name
        for room in (*OURS, "requirements"):
            shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
        if changed:
            with (tree / changed).open("a") as stream:
                stream.write("\nCHANGED = True\n")
        words = (artifact.path, "-t", f"oci:{tree}/out:v1", "--base", f"oci:{tmp_path}/base")
        run_package(oci_cache, *words, PYTHONPATH=str(tree))
        layout = open_layout(tree / "out")
        made[name] = load_image(layout, layout.resolve("v1"))
    assert made["same"].descriptor.digest == made["now"].descriptor.digest
    differing = [one != other for one, other in zip(made["now"].layers, made["other"].layers, strict=True)]
    assert differing.count(True) == 1
    assert _without_layers(made["now"]) == _without_layers(made["other"])


def _without_layers(image: Image) -> object:
    """A container image's config but for the digests of its layers."""
    return {name: value for name, value in image.values.items() if name != "rootfs"}
