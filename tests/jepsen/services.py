"""Relay and receiver as processes that are killed and started again on the same port."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import eaves
from tests.inputs.certificates import make_certificate
from tests.jepsen import jumping
from tests.ports import find_port, is_listening
from tests.processes.service import START_S, ServiceProcess

ROOT = Path(eaves.__file__).parents[1]
CALL_S = 3.0
"""How long a system call is waited for, before which a process is to be killed, seconds."""
SITE, TOKEN = "soak", "token-of-the-soak-test-0123456789"


class Service(ServiceProcess):
    """A process that listens on one port, under a clock that a test sets.

    Args:
        module: Python module that it runs.
        options: Its settings; the port is added.
        log: File that its output is appended to. Beside it is the file that sets its clock.
    """

    def __init__(self, module: str, options: Mapping[str, object], log: Path) -> None:
        self.kills = 0
        self._clock = log.with_suffix(".clock")
        port = find_port()
        super().__init__(jumping.__name__, log, {"PYTHONPATH": str(ROOT)}, port=port, health_port=port)
        settings = [f"--{name}={value}" for name, value in {"port": port, **options}.items()]
        self.arguments = [str(self._clock), module, *settings]
        self.set_clock(0.0)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self.stop(signal.SIGKILL) is not None:
            self.kills += 1

    def kill_before(self, call: str, number: int) -> None:
        """End it with SIGKILL before a system call of one of its threads, or after `CALL_S` when none comes.

        Args:
            call: Name of the call.
            number: Which one from now, in a thread.
        """
        inject = f"inject={call}:signal=KILL:when={number}"
        command = ["strace", "-f", "-q", "-e", f"trace={call}", "-e", inject, "-o", "/dev/null", "-p", str(self.pid)]
        assert self._process is not None
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CALL_S)
            self.kill()
            tracer.wait(START_S)

    def set_clock(self, ahead_s: float) -> None:
        """Set the process's wall clock ahead, or back with a negative number of seconds."""
        part = self._clock.with_suffix(".part")
        part.write_text(str(ahead_s))
        part.rename(self._clock)

    def is_answering(self) -> bool:
        """Whether it accepts connections."""
        assert self._process is not None
        assert self._process.poll() is None, f"it ended by itself; see {self.log}"
        return is_listening(self.port)

    def logged(self) -> str:
        """The last of what it wrote."""
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""


def build_receiver(folder: Path, options: Sequence[tuple[str, object]] = ()) -> Service:
    """A receiver over TLS that writes what it receives into `folder`/received; not started."""
    folder.mkdir()
    credentials = folder / "credentials"
    certificate, key = make_certificate(credentials)
    certificate.rename(credentials / "tls.crt")
    key.rename(credentials / "tls.key")
    (folder / "sites").mkdir()
    (folder / "sites" / SITE).write_text(f"{TOKEN}\n")
    settings = {
        "credentials": credentials,
        "sites": folder / "sites",
        "folder": folder / "received",
        "spool": folder / "receiver.db",
        **dict(options),
    }
    return Service("eaves.link.receiver", settings, folder / "receiver.log")


def build_relay(folder: Path, to: str, receiver: Path, options: Sequence[tuple[str, object]] = ()) -> Service:
    """A relay of the site; not started.

    Args:
        folder: Made for its files.
        to: Address of the receiver, or of the proxy before it.
        receiver: The receiver's folder.
        options: More settings.
    """
    folder.mkdir()
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text(TOKEN)
    (credentials / "ca.crt").write_bytes((receiver / "credentials" / "tls.crt").read_bytes())
    settings = {
        "to": to,
        "site": SITE,
        "credentials": credentials,
        "spool": folder / "relay.db",
        **dict(options),
    }
    return Service("eaves.link.relay", settings, folder / "relay.log")
