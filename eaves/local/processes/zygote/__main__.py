"""The command `python -P -m eaves.local.processes.zygote SOCKET`: imports libraries, and forks processes."""

from __future__ import annotations

import gc
import os
import runpy
import socket
import sys
from contextlib import suppress

from eaves.local.processes.zygote.fork_request import (
    READY,
    ForkAnswer,
    ForkRequest,
    receive_request,
    send_answer,
)
from eaves.local.processes.zygote.libraries import Files, find_changed, import_modules, list_files
from eaves.local.processes.zygote.replica_setup import join_parent, set_up


def main() -> None:
    """Import the modules, and fork a process for each request until `eaves up` ends.

    A forked process returns from `serve` and runs its module here, so the interpreter ends it as it ends a command.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()
    import_modules()
    gc.collect()
    gc.freeze()  # a later collection of a replica would write to each object, and so copy all of the shared memory
    gc.enable()
    files = list_files()
    control.send(READY)
    request = serve(control, files)
    if request is not None:
        set_up(request, os.environ)
        runpy.run_module(request.command.module, run_name="__main__", alter_sys=True)


def serve(control: socket.socket, files: Files) -> ForkRequest | None:
    """Fork a process for each request.

    Returns:
        In a forked process, its request; in the zygote None, when `eaves up` has ended.
    """
    with control:
        while (request := receive_request(control)) is not None:
            if answer := find_obstacle(files):
                _refuse(request, answer)
            elif _fork(request):
                return request
            request.close()
    return None


def find_obstacle(files: Files) -> ForkAnswer | None:
    """Return the answer to a request when this process must not fork; None when it may."""
    if changed := find_changed(files):
        return ForkAnswer(error=f"{changed} has changed", outdated=True)
    if (threads := len(os.listdir("/proc/self/task"))) != 1:  # noqa: PTH208 - it runs at each start
        return ForkAnswer(error=f"it has {threads} threads")
    return None


def _fork(request: ForkRequest) -> bool:
    """Fork a process by way of another one that ends at once, so that `eaves up` becomes its parent.

    Returns:
        True in the forked process, False in the zygote.
    """
    try:
        between = os.fork()
    except OSError as error:  # no memory, or too many processes
        _refuse(request, ForkAnswer(error=f"it can't fork: {error.strerror}"))
        return False
    if between:
        os.waitpid(between, 0)
        return False
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError as error:
        _refuse(request, ForkAnswer(error=f"it can't fork: {error.strerror}"))
        os._exit(1)
    if not join_parent(request, between):
        os._exit(0)
    return True


def _refuse(request: ForkRequest, answer: ForkAnswer) -> None:
    with suppress(OSError):  # `eaves up` waits no longer
        send_answer(request.answer, answer)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the function's own main module does; more would be threads
    main()
