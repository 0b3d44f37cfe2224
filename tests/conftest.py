"""What every test shares: the folder sets the marker, a cluster only when asked, ../shared when it is there."""

import gc
import hashlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.disks import DISK, MEMORY, find_fault
from trainer.tensorflow_notices import prepare_tensorflow

TESTS = Path(__file__).parent
FOLDER_MARKERS = frozenset({"unit", "contract", "integration", "e2e", "browser", "docs", "soak"})


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts us in the background has it ignored, and what is ignored stays so in every process we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in ("COLUMNS", "LINES"):
    # xdist's workers have the size of the terminal in their environment, where tables would be cut to it; readline,
    # which pytest imports, sets it behind the back of os.environ.
    os.environ.pop(name, None)
    os.unsetenv(name)

# Tests of buckets look for no credentials of the person who runs them, and no cloud's machine.
os.environ |= {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

prepare_tensorflow()  # weights depend on the number of threads, which is that of a training's own process so

# Container images often forbid Python to keep what it has compiled. Then every run compiles 800 files of tests, and
# each process that a test starts compiles hundreds of our modules.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# An example that a busy machine takes half a second for is no fault of the code; `timeout` ends what hangs.
settings.register_profile("eaves", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("eaves")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("eaves")
    group.addoption("--e2e", action="store_true", help="run the tests that need a real cluster")
    group.addoption("--kubeconfig", type=Path, default=None, help="the cluster for --e2e (default: kubectl's own)")
    registry = os.environ.get("EAVES_E2E_REGISTRY", "")
    group.addoption("--registry", default=registry, help="HOST/PREFIX that the cluster pulls from [EAVES_E2E_REGISTRY]")
    for name, what, tests in (
        ("agent", "the agent's container image", "sources"),
        ("agent-camera", "the container image of agents with cameras", "cameras"),
        ("agent-s3", "the container image of agents with buckets", "buckets"),
        ("trainer", "the trainer's container image", "trainings"),
        ("console", "the container image of a site's console", "its pages"),
        ("mosquitto", "a container image with mosquitto and its clients", "MQTT"),
        ("rtsp", "a container image with GStreamer's RTSP server", "cameras"),
        ("s3", "a container image with moto's server", "buckets"),
    ):
        variable = f"EAVES_E2E_{name.upper().replace('-', '_')}_IMAGE"
        reported = os.environ.get(variable, "")
        text = f"for --e2e: {what}, for tests of {tests} [{variable}]"
        group.addoption(f"--{name}-image", default=reported, metavar="REFERENCE", help=text)
    group.addoption("--relay-events", type=int, default=5000, help="for --e2e: images that the test of a relay takes")
    group.addoption("--relay-cut-s", type=float, default=600.0, help="for --e2e: how long its link is cut, seconds")
    group.addoption("--edge-node", default="", metavar="NODE", help="for --e2e: a node whose link can be cut")
    group.addoption("--edge-cut-s", type=float, default=600.0, help="for --e2e: how long that link is cut, seconds")
    for name, what in (
        ("--cut-edge", "cuts the link of --edge-node"),
        ("--join-edge", "connects it again"),
        ("--stop-registry", "ends that registry"),
        ("--start-registry", "starts it again"),
        ("--restart-kubelet", "restarts the kubelets"),
        ("--delete-image", "deletes the container image from every node whose digest is added to it"),
    ):
        group.addoption(name, default="", metavar="COMMAND", help=f"for --e2e: what {what}, for tests of outages")


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory, unless they have a folder already or there is no room.

    Processes of xdist get the folder of the whole run as their --basetemp.
    """
    if config.option.basetemp is None and not _why_on_disk(config):
        tempfile.tempdir = str(MEMORY)


def _why_on_disk(config: pytest.Config) -> str:
    if "TMPDIR" in os.environ:
        return "TMPDIR is set"
    if config.option.markexpr != "not slow":
        return "-m may select slow tests, whose files are large"
    return find_fault(MEMORY)


def pytest_report_header(config: pytest.Config) -> str:
    if config.option.basetemp is not None:
        return f"temporary files: {config.option.basetemp}"
    why = _why_on_disk(config)
    return f"temporary files: {tempfile.gettempdir()}{f' ({why})' if why else ''}; of tests marked `disk`: {DISK}"


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the temporary files of this process and of its children into memory too when those of pytest are there."""
    if MEMORY not in tmp_path_factory.getbasetemp().parents:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(MEMORY))
        patch.setattr(tempfile, "tempdir", str(MEMORY))
        yield


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """pytest's own fixture; a folder on a disk for tests marked `disk`, whose subject is what the disk holds."""
    if request.node.get_closest_marker("disk") is None:
        yield request.getfixturevalue("tmp_path")
        return
    with tempfile.TemporaryDirectory(prefix="eaves-", dir=DISK) as folder:
        yield Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from modules and tests: it walks through 800,000 objects that all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def digest_of_file(item: pytest.Item) -> bytes:
    return hashlib.sha256(item.nodeid.partition("::")[0].encode()).digest()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        # In the order of folders all processes wait at the same time, and compute at the same time. Pages come first:
        # one of their files takes longer than any other.
        items.sort(key=lambda item: (not item.nodeid.startswith("tests/docs/"), digest_of_file(item)))
    for item in items:
        if (marker := item.get_closest_marker("long")) is not None:
            item.user_properties.append(("long", marker.args[0]))  # which reports carry from xdist's processes, too
        if TESTS not in item.path.parents:
            continue
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)
        if folder == "e2e" and not config.getoption("--e2e"):
            item.add_marker(pytest.mark.skip(reason="needs a cluster; run with --e2e [--kubeconfig FILE]"))


REPORT_FROM_S = 5.0
"""A test that takes longer is listed at the end of a run, with the reason that its marker `long` has, seconds."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that took long, the longest first; a fixture counts to the first test that uses it."""
    took: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for report in (entry for entries in terminalreporter.stats.values() for entry in entries):
        if isinstance(report, pytest.TestReport):
            took[report.nodeid] = took.get(report.nodeid, 0.0) + report.duration
            reasons[report.nodeid] = str(dict(report.user_properties).get("long", "no reason is given"))
    long = sorted(((took_s, name) for name, took_s in took.items() if took_s > REPORT_FROM_S), reverse=True)
    if long:
        terminalreporter.section(f"tests over {REPORT_FROM_S:g} s")
    for took_s, name in long:
        terminalreporter.write_line(f"{took_s:6.1f} s  {name}: {reasons[name]}")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back how a test set up logging: commands that run in this process do so, as entry points."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def kubeconfig(pytestconfig: pytest.Config) -> Path | None:
    """The file that --kubeconfig names; None leaves the choice to the client."""
    path: Path | None = pytestconfig.getoption("--kubeconfig")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photos, weights and schemas that lies beside the project where it is developed."""
    path = TESTS.parent.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"{path} is not there: photos and weights lie beside the project, not in it")
    return path
