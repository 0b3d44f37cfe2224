"""A process that forks clients of a spool: a client starts in a millisecond, as everything is imported already.

Requests are lines on stdin, answers are lines on stdout:

    {"module": NAME, "function": NAME, "argument": ...}   > the client's process id; it waits
    go                                                    > what `waitpid` tells when it has ended

It has one thread, so that a fork is safe.
"""

import ctypes
import importlib
import json
import os
import sys
import traceback

_PR_SET_PTRACER = 0x59616D61
"""Source: prctl(2), PR_SET_PTRACER; lets strace attach where only parents may."""


def main() -> None:
    """Serve requests until stdin ends."""
    importlib.import_module("tests.jepsen.clients")
    for line in sys.stdin:
        request = json.loads(line)
        ready, start = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(start)
            _run(request, ready)
        os.close(ready)
        _say(pid)
        assert sys.stdin.readline() == "go\n"
        os.close(start)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _run(request: dict[str, object], ready: int) -> None:
    """Be the client; never returns."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
        os.read(ready, 1)  # until the parent closes its end
        module = importlib.import_module(str(request["module"]))
        getattr(module, str(request["function"]))(request["argument"])
        status = 0
    except BaseException:  # noqa: BLE001 - the process ends here in any case
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
