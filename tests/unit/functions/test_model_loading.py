"""What a function's start imports, and the model while it loads."""

import signal
import sys
from pathlib import Path
from types import FrameType

import pytest

from eaves.artifact import Artifact
from eaves.errors import GoldenError, ImageError, LoadingError
from functions.start import STOP_SIGNALS, ShutdownRequest
from tests.fakes.models.artifact import write_colours
from tests.fakes.models.model import FakeModel, build_classifier
from tests.processes.commands import run_code


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def test_nobody_is_answered_before_the_check_has_passed(artifact: Artifact):
    model = FakeModel(build_classifier(artifact), checking=True)
    worked = []
    with pytest.raises(LoadingError, match="being checked"), model.use():
        worked.append(not model.ready)
    with model.use():
        model.finish()
    assert worked == [True]


@pytest.mark.parametrize("error", [None, ImageError("corrupt"), ZeroDivisionError()])
def test_what_an_unproven_model_did_counts_for_nothing_when_the_check_fails(
    artifact: Artifact, error: Exception | None
):
    model = FakeModel(build_classifier(artifact), checking=True)

    def work() -> None:
        with model.use():
            model.finish(GoldenError("logits differ"))
            if error:
                raise error

    with pytest.raises(GoldenError, match="logits differ"):
        work()
    assert not model.ready


@pytest.mark.timeout(10)
def test_a_signal_may_interrupt_the_handler_of_another_at_any_step():
    """A handler that takes a lock would wait for the one that it has interrupted, and the process would never end."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    request = ShutdownRequest()
    request.handle_signals()

    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        signal.raise_signal(signal.SIGINT)

    try:
        sys.setprofile(interrupt)
        signal.raise_signal(signal.SIGTERM)
    finally:
        sys.setprofile(None)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert request.asked


NEEDLESS = {
    *("rich", "yaml", "urllib3", "tensorflow", "onnx", "kubernetes"),
    *("asyncio", "multiprocessing", "unittest", "sqlite3"),
    *("flask", "werkzeug", "jinja2", "click", "http.server", "ssl"),  # until the first prediction is answered
    "concurrent.futures",
    *("numpy.ma", "numpy.random", "numpy.fft", "numpy.polynomial", "numpy.testing"),
    *(
        "eaves.cloudevents_sdk",
        "cloudevents",
        "functions.inference_messages",
        "functions.dataref",
        "functions.url_policy",
        "functions.request_signer",
        "eaves.http_client",
        "eaves.credentials",
    ),  # only where they are used
}


SLOW = {"numpy", "onnxruntime", "PIL", "flask", "werkzeug", "waitress", "jinja2", "click", "eaves.artifact"}
"""Imported once the function listens."""
LATER = {
    *("PIL", "flask", "werkzeug", "eaves.images.decoder", "eaves.events", "eaves.inference.handler"),
    "functions.pipeline",
}
"""What only a prediction needs: imported once the session opens."""
CODECS = {"encodings.idna", "stringprep"}
"""Imported for international names, which a listening socket has none of."""


def test_a_function_imports_nothing_before_it_needs_it():
    code = (
        "import sys, functions.__main__\n"
        f"print(sorted({SLOW!r} & set(sys.modules)))\n"
        "functions.__main__.open_listening_socket('127.0.0.1', 0).close()\n"
        f"print(sorted({CODECS!r} & set(sys.modules)))\n"
        "import functions.model_loading\n"
        f"print(sorted({LATER!r} & set(sys.modules)))\n"
        "assert 'onnxruntime' in sys.modules\n"
        "import functions.function_app, functions.server, functions.pipeline\n"
        f"print(sorted({NEEDLESS!r} & set(sys.modules)))\n"
    )
    done = run_code(code, check=True)
    assert done.stdout.split("\n") == ["[]"] * 4 + [""]
