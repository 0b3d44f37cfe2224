"""The decoder's process as its parent sees it: started, read by a thread, and ended, whatever it does.

The process is started with `python -P -m`, without the environment of the agent, which may hold addresses and tokens.
Its request with the password goes through stdin, so that `ps` doesn't show it. What it writes is checked, since a
decoder that read hostile data may write anything.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from eaves.base.clock import Clock
from eaves.http_client.proxies import Proxy
from eaves.sources.camera.process_output import ProcessOutput
from eaves.sources.camera.slot import FrameSlot
from eaves.sources.camera.wire import (
    Alive,
    DroppedFrames,
    Ended,
    Failed,
    FailureCode,
    Message,
    Opened,
    StreamFrame,
    StreamRequest,
    WireError,
    build_request,
    read_message,
)
from eaves.sources.frame import Cause

DECODER = (sys.executable, "-P", "-m", "eaves.sources.camera.decoder")
"""Command of the decoder."""
TERM_S = 2.0
"""Time between SIGTERM and SIGKILL, seconds. A decoder that is asked to end closes its stream at the camera, of which
many allow a few streams only."""
OVER_S = 0.2
"""Time between the end of the output of a process and SIGTERM, seconds: it may be about to end by itself."""
KILLED_S = 2.0
"""Time that a killed process may take to end, seconds. One that hangs in the kernel, in a driver or on a network
folder, takes longer."""
MAX_DROPPED = 1_000_000
"""Maximum number of dropped frames in one message; a larger one counts as a broken message."""
_CAUSES, _CODES = frozenset(get_args(Cause)), frozenset(get_args(FailureCode))
MAX_REASONS = 20
"""Maximum number of reasons of dropped frames that are kept between two calls of `take_dropped`."""
TICK_S = 0.01
_BUFFER_BYTES = 65_536
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class DecoderProcess:
    """A decoder that runs.

    Args:
        request: What it has to read.
        slot: Slot that its frames are put into; it is woken by everything else that the process says, and at its end.
        clock: Clock of the times at which messages arrive.
        environ: Environment variables of the process.
        command: Command that starts it.

    Attributes:
        pid: Process id.
        opened: What the decoder found in the stream; None until the stream is open.
        failed: Why the decoder ends; None when it hasn't said so.
        ended: Whether it has read a file to its end.
        fault: Why what it wrote isn't a message; empty when everything was.
        last_data_s: Monotonic time at which the last message arrived, seconds.
        over: Whether its output has ended.

    Raises:
        OSError: When the process can't be started.
    """

    def __init__(
        self,
        request: StreamRequest,
        slot: FrameSlot,
        *,
        clock: Clock,
        environ: Mapping[str, str],
        command: Sequence[str] = DECODER,
    ) -> None:
        self.opened: Opened | None = None
        self.failed: Failed | None = None
        self.ended = self.over = False
        self.fault = ""
        self.last_data_s = clock.monotonic()
        self._slot, self._clock, self._max_bytes = slot, clock, request.max_bytes
        self._lock = threading.Lock()
        self._reaping = threading.Lock()
        self._dropped: Counter[tuple[Cause, str]] = Counter()
        self._process = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches only the agent, which ends its decoders
        )
        self.pid = self._process.pid
        self._output = ProcessOutput(self._process)
        self._thread = threading.Thread(target=self._read, name=f"decoder-{self.pid}", daemon=True)
        self._thread.start()
        self._send(build_request(request))

    @property
    def tail(self) -> str:
        """The last lines that the process wrote to stderr."""
        return "\n".join(line.decode("utf-8", "replace") for line in list(self._output.tail))

    @property
    def exit_status(self) -> str:
        """How the process ended, once `end` has returned True."""
        code = self._process.returncode
        return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def take_dropped(self) -> Mapping[tuple[Cause, str], int]:
        """Return the numbers of frames that the decoder dropped since the last call, by cause and reason."""
        with self._lock:
            taken, self._dropped = self._dropped, Counter()
        return taken

    def resident_bytes(self) -> int:
        """Return the resident memory of the process in bytes; 0 when it has ended. Source: proc_pid_statm(5)."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):
            return 0

    def terminate(self) -> None:
        """Ask the process to end, without waiting for it. May be called from any thread."""
        self._signal(signal.SIGTERM)

    def end(self, term_s: float = TERM_S) -> bool:
        """End the process, whatever it does, and release everything that it used.

        Args:
            term_s: Time that it gets after SIGTERM, seconds.

        Returns:
            Whether it has ended. One that hangs in the kernel hasn't; the call is to be repeated later.
        """
        if self.over:
            self._await_exit(0, OVER_S)  # so that its exit code is its own
        if not self._await_exit(signal.SIGTERM, term_s) and not self._await_exit(signal.SIGKILL, KILLED_S):
            return False
        self._signal(signal.SIGKILL)  # for what it started, which would hold its pipes open
        self._thread.join(KILLED_S)
        if self._thread.is_alive():
            return False
        with self._reaping:
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return True

    def _await_exit(self, number: int, timeout_s: float) -> bool:
        """Send a signal, unless it is 0, and wait for the end of the process in real time; keep its exit code."""
        if number:
            self._signal(number)
        deadline = time.monotonic() + timeout_s
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(TICK_S)
        return True

    def _signal(self, number: int) -> None:
        with self._reaping:
            if self._process.returncode is None:  # until then, no other process gets its number
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)

    def _send(self, request: bytes) -> None:
        """Write the request into the pipe, which has room for it; a decoder that never reads it blocks nothing."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        os.set_blocking(self._process.stdin.fileno(), False)
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # an incomplete request ends the decoder
            os.write(self._process.stdin.fileno(), request)

    def _read(self) -> None:
        stream = io.BufferedReader(self._output, _BUFFER_BYTES)
        try:
            while (message := read_message(stream, self._max_bytes)) is not None:
                self._receive(message)
        except WireError as error:
            self.fault = str(error)
        except MemoryError:
            self.fault = "there is no memory for a message of the decoder"
        finally:
            self.over = True
            self._slot.wake()

    def _receive(self, message: Message) -> None:
        self.last_data_s = self._clock.monotonic()
        if isinstance(message, StreamFrame):
            self._slot.put(message)
            return
        if isinstance(message, Alive):
            return
        if isinstance(message, DroppedFrames):
            self._count(message)
            return
        if isinstance(message, Opened):
            self.opened = message
        elif isinstance(message, Ended):
            self.ended = True
        elif isinstance(message.code, str) and message.code in _CODES and isinstance(message.message, str):
            self.failed = message
        else:
            raise WireError("the decoder's output has an unknown reason of a failure")
        self._slot.wake()

    def _count(self, message: DroppedFrames) -> None:
        texts = isinstance(message.cause, str) and isinstance(message.reason, str)
        if not texts or message.cause not in _CAUSES or message.count not in range(1, MAX_DROPPED + 1):
            raise WireError("the decoder's output has an impossible number of dropped frames")
        cause: Cause = message.cause  # type: ignore[assignment]  # it is one of them
        with self._lock:
            key = cause, message.reason[:256]
            known = key in self._dropped or len(self._dropped) < MAX_REASONS
            self._dropped[key if known else (cause, "")] += message.count


def build_environ(proxy: Proxy | None = None) -> dict[str, str]:
    """Return the whole environment of a decoder: nothing of the agent's but what Python, TLS and the proxy need.

    Args:
        proxy: HTTP proxy of the stream's address; None for none. FFmpeg reads its address from `http_proxy` only, for
            https:// too.
    """
    found = ssl.get_default_verify_paths()
    address = build_proxy_url(proxy) if proxy else ""
    environ = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "SSL_CERT_FILE": found.cafile or "",
        "SSL_CERT_DIR": found.capath or "",
        "http_proxy": address,
    }
    return {name: value for name, value in environ.items() if value}


def build_proxy_url(proxy: Proxy) -> str:
    """Return a proxy's address with its user name and password, percent-encoded."""
    user, _, password = base64.b64decode(proxy.authorization.removeprefix("Basic ")).decode().partition(":")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return proxy.url.replace("://", f"://{login}")
