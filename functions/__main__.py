"""The command `python -P -m functions`: one function process, the command of its container image."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
from typing import Any

from eaves import logs
from eaves.options import build_settings, report_errors, settings_options, warn_of_variables
from functions.settings import FunctionSettings
from functions.start_timing import StartTiming


def main() -> None:
    """Run one function process with the settings from command line flags and environment variables.

    The module click is imported only for flags and `--help`: a platform sets environment variables, and importing click
    takes 20 ms, a tenth of a cold start.
    """
    timing = StartTiming()
    # Process 1 of a container isn't ended by a signal that it doesn't handle. Nothing is accepted yet.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    gc.disable()  # until all imports are done: their objects stay, and scanning them takes 13 ms
    if sys.argv[1:]:
        build_command(timing)()
    else:
        serve(build_settings(FunctionSettings, {}), timing)


def build_command(timing: StartTiming) -> Any:
    """Build the click command that serves an artifact."""
    import click

    @click.command("functions", context_settings={"help_option_names": ["-h", "--help"]})
    @settings_options(FunctionSettings)
    def command(**options: Any) -> None:
        """Serve one artifact over HTTP: images and CloudEvents in, predictions out."""
        serve(build_settings(FunctionSettings, options), timing)

    return command


def serve(settings: FunctionSettings, timing: StartTiming) -> None:
    """Load the model, and serve it over HTTP until the process gets SIGTERM or SIGINT."""
    logs.configure(as_json=settings.log_json)
    warn_of_variables((FunctionSettings, ""))
    timing.mark("settings")
    # Imported before the server's part: two threads that import alternate on the interpreter's lock, and both finish
    # late. The model's own thread then opens the session and does a first run, which need no lock.
    timing.import_modules("numpy", "eaves.onnxruntime", "PIL.Image", "functions.model.model_loading")
    from functions.model.model_loading import LoadingModel
    from functions.process_usage import give_memory_back

    give_memory_back()  # before there are threads, which keep the arena that they start with
    model = LoadingModel(settings, timing)
    model.start()
    timing.import_modules("flask", "functions.http.app", "functions.http.server")
    from eaves.errors import StartError
    from functions.cpu_limit import count_usable_cpus
    from functions.http.app import create_app
    from functions.http.server import STOP_SIGNALS, Server

    concurrency = settings.concurrency or count_usable_cpus()
    signal.pthread_sigmask(
        signal.SIG_BLOCK, STOP_SIGNALS
    )  # until the server can finish what its socket accepts from here on
    app = create_app(model, settings, concurrency=concurrency, environ=os.environ)
    try:
        server = Server(app, settings, concurrency=concurrency, on_stop=model.drain)
    except StartError:
        model.wait()  # an interpreter that ends while onnxruntime opens a model aborts, with another exit code
        raise
    timing.mark("listening")
    # Imported for the first event. A first image needn't wait for it, and an event waits for the golden check anyway.
    threading.Thread(target=importlib.import_module, args=["eaves.cloudevents_sdk"], name="sdk", daemon=True).start()
    gc.freeze()
    gc.enable()
    server.run()


if __name__ == "__main__":
    # numpy only copies here; its thread pool costs start time and memory
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    report_errors(main)
