"""`python -P -m functions`: one function process, the command of its container image."""

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
    """Serve as flags and environment say.

    click is imported for flags and `--help` only: a platform sets environment variables, and its 20 ms are a tenth of
    a cold start.
    """
    timing = StartTiming()
    # Who is process 1 in its container isn't ended by a signal that it doesn't handle. Nothing is accepted yet.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    gc.disable()  # until everything is imported: what is made until then stays, and looking through it takes 13 ms
    if sys.argv[1:]:
        build_command(timing)()
    else:
        serve(build_settings(FunctionSettings, {}), timing)


def build_command(timing: StartTiming) -> Any:
    """The click command."""
    import click

    @click.command("functions", context_settings={"help_option_names": ["-h", "--help"]})
    @settings_options(FunctionSettings)
    def command(**options: Any) -> None:
        """Serve one artifact over HTTP: images and CloudEvents in, predictions out."""
        serve(build_settings(FunctionSettings, options), timing)

    return command


def serve(settings: FunctionSettings, timing: StartTiming) -> None:
    """Load the model and answer until the process is told to end."""
    logs.configure(as_json=settings.log_json)
    warn_of_variables((FunctionSettings, ""))
    timing.mark("settings")
    # Before the server's part: two threads that import take turns at the interpreter's lock, and both end late. What
    # the model's own thread does then, opening the session and a first run, needs no lock.
    timing.import_modules("numpy", "eaves.onnxruntime", "PIL.Image", "functions.model.model_loading")
    from functions.model.model_loading import LoadingModel
    from functions.process_usage import give_memory_back

    give_memory_back()  # before there are threads, which keep the arena that they begin with
    model = LoadingModel(settings, timing)
    model.start()
    timing.import_modules("flask", "functions.http.app", "functions.http.server")
    from functions.cpu_limit import count_usable_cpus
    from functions.http.app import create_app
    from functions.http.server import STOP_SIGNALS, Server

    concurrency = settings.concurrency or count_usable_cpus()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until it can finish what its socket takes from here on
    app = create_app(model, settings, concurrency=concurrency, environ=os.environ)
    server = Server(app, settings, concurrency=concurrency, on_stop=model.drain)
    timing.mark("listening")
    # For the first event. A first image needn't wait for it, and an event's sender waits beside the golden check.
    threading.Thread(target=importlib.import_module, args=["eaves.cloudevents_sdk"], name="sdk", daemon=True).start()
    gc.freeze()
    gc.enable()
    server.run()


if __name__ == "__main__":
    # numpy here only copies; its pool of threads costs start and memory
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    report_errors(main)
