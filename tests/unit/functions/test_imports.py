"""What a function's start imports: each of these was found on the path once, and costs milliseconds and memory."""

from __future__ import annotations

import subprocess
import sys

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
        "eaves.credentials",
    ),  # only where they are used
}


def test_a_function_imports_nothing_it_does_not_need() -> None:
    code = (
        "import sys, functions.__main__, functions.model_loading, functions.function_app\n"
        "import functions.server, functions.pipeline\n"
        f"print(sorted({NEEDLESS!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_session_opens_before_what_only_a_prediction_needs_is_imported() -> None:
    later = {
        *("PIL", "flask", "werkzeug", "eaves.images.decoder", "eaves.events", "eaves.inference.handler"),
        "functions.pipeline",
    }
    code = (
        "import sys, functions.__main__, functions.model_loading\n"
        f"print(sorted({later!r} & set(sys.modules)), 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_a_function_listens_before_it_imports_what_is_slow() -> None:
    slow = {"numpy", "onnxruntime", "PIL", "flask", "werkzeug", "waitress", "jinja2", "click", "eaves.artifact"}
    code = f"import sys, functions.__main__\nprint(sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_listening_socket_needs_no_codec_for_international_names() -> None:
    code = (
        "import sys\nfrom functions.start import open_listening_socket\n"
        "open_listening_socket('127.0.0.1', 0).close()\n"
        "print(sorted({'encodings.idna', 'stringprep'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
