"""The command `python -P -m functions`: one function process, the command of its container image."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import Any

from eaves import logs
from eaves.options import build_settings, report_errors, settings_options
from functions.settings import FunctionSettings
from functions.start import ShutdownRequest, StartTiming, open_listening_socket

SWITCH_INTERVAL_S = 0.0005
"""Seconds for which a thread may keep the interpreter's lock while another one waits. With Python's 5 ms, the model's
thread often waited that long during the start, and later the next run waited for the thread that builds a reply."""
KEPT_BYTES = 16 << 20
"""Maximum bytes of freed memory that are kept for reuse. The pixels of most images fit: with 4 MB, decoding a PNG of 2
megapixels takes 6 % longer."""
NATIVE_THREADS = ("model", "second", "waitress-")
"""Beginnings of the names of the threads that open sessions, and of those that predict."""


def main() -> None:
    """Run one function process with the settings from command line flags and environment variables.

    The module click is imported only for flags and `--help`: a platform sets environment variables, and importing click
    takes 20 ms, a tenth of a cold start.
    """
    timing = StartTiming()
    # Process 1 of a container isn't ended by a signal that it doesn't handle. Nothing is accepted yet.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
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
    timing.mark("settings")
    stopping = ShutdownRequest()
    stopping.handle_signals()  # from here on requests are accepted, so the server answers them before it ends
    listening = open_listening_socket(settings.host, settings.port)
    # Two threads that import alternate on the interpreter's lock. So only what opens the session is imported first: the
    # model's own thread then opens it, which hardly needs the lock, while this thread imports what predicts and then
    # what serves.
    timing.import_modules("numpy", "eaves.inference.onnxruntime", "functions.model_loading")
    from eaves.resource_limits import return_freed_memory
    from functions.model_loading import LoadingModel

    # Before there are threads, which keep the arena that they start with. One arena is enough, since Python's
    # interpreter lock lets one thread run at a time: with eight per CPU, twenty bodies of 5 to 20 MB left 340 MB.
    return_freed_memory(KEPT_BYTES, arenas=1)
    model = LoadingModel(settings, timing)
    model.start()
    timing.import_modules("PIL.Image", "functions.pipeline", "functions.function_app", "functions.server")
    from eaves.resource_limits import count_usable_cpus
    from functions.function_app import FunctionApp
    from functions.server import Server
    from functions.service import Service

    def build_flask() -> Any:
        from functions.routes import build_flask

        return build_flask(service)

    concurrency = settings.concurrency or count_usable_cpus()
    service = Service(model, settings, concurrency=concurrency, environ=os.environ)
    app = FunctionApp(service, build_flask)
    server = Server(app, settings, listening=listening, concurrency=concurrency, stopping=stopping, on_stop=model.drain)
    timing.mark("listening")
    gc.freeze()
    gc.enable()
    server.run()


def end_if_busy(code: int) -> None:
    """End the process now if a thread is in onnxruntime's code, which aborts when the interpreter ends beneath it.

    Such a thread loads the model, opens a second session, or makes a prediction that takes longer than the shutdown.

    Args:
        code: Exit code of the process.
    """
    if any(thread.name.startswith(NATIVE_THREADS) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    # numpy only copies here; its thread pool costs start time and memory
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        report_errors(main)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            end_if_busy(ended.code)
        raise
    end_if_busy(0)
