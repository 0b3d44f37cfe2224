"""`python -P -m eaves.reachability JSON`: tries to connect to addresses from where it runs, and writes what came of it.

`eaves doctor` runs it in a pod, since only a pod of the site sees what an agent there would see: the cluster's DNS, its
network policies and its routes. Nothing is sent but what TCP and TLS send to connect.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

TLS = "tls://"
"""Begins an address at which a TLS handshake is tried as well."""
TIMEOUT_S = 5.0
"""Longest wait for one connection, and again for its handshake, seconds."""
AT_ONCE = 16
MESSAGE_CHARACTERS = 160
"""Longest message of an attempt: a pod's termination message has 4,096 bytes in all.

Source: Kubernetes, `terminationMessagePath`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachabilityTarget:
    """One address to try.

    Attributes:
        address: `HOST:PORT`, or `tls://HOST:PORT`.
        authorities: File with certificate authorities to trust beside the system's, as PEM; empty or missing: none.
    """

    address: str
    authorities: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What came of an attempt.

    Attributes:
        address: As it was given.
        failed: What failed: `name` (its host has no address), `connection`, `certificate`, `tls`; empty: nothing.
        message: Why; empty when nothing failed.
    """

    address: str
    failed: str = ""
    message: str = ""


def parse_address(address: str) -> tuple[str, int, bool]:
    """Host, port, and whether TLS is tried. An IPv6 address stands in brackets.

    Raises:
        ValueError: When it is no `HOST:PORT`.
    """
    host, _, port = address.removeprefix(TLS).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"must be HOST:PORT (got {address!r})")
    return host.removeprefix("[").removesuffix("]"), int(port), address.startswith(TLS)


def reach(attempt: ReachabilityTarget, *, timeout_s: float = TIMEOUT_S) -> Reached:
    """Try one address."""

    def failed(what: str, why: object) -> Reached:
        return Reached(address=attempt.address, failed=what, message=str(why)[:MESSAGE_CHARACTERS])

    host, port, with_tls = parse_address(attempt.address)
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            if with_tls:
                with _trusting(attempt.authorities).wrap_socket(connection, server_hostname=host):
                    pass
    except socket.gaierror as error:
        return failed("name", error.strerror)
    except ssl.SSLCertVerificationError as error:
        return failed("certificate", error.verify_message)
    except ssl.SSLError as error:
        if "ALERT" not in str(error.reason):  # an alert is an answer: it asks for the client's certificate, say
            return failed("tls", error.reason or error)
    except TimeoutError:
        return failed("connection", f"no answer within {timeout_s:g} s")
    except OSError as error:
        return failed("connection", error.strerror or error)
    return Reached(address=attempt.address)


def reach_all(attempts: Sequence[ReachabilityTarget]) -> list[Reached]:
    """Try all of them side by side; in their order."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(reach, attempts))


def to_text(attempts: Iterable[ReachabilityTarget]) -> str:
    """Attempts as the command takes them."""
    return json.dumps([asdict(attempt) for attempt in attempts])


def parse_report(text: str) -> list[Reached]:
    """What the command wrote; a last line that was cut off is left out."""
    found = []
    for line in text.splitlines():
        try:
            found.append(Reached(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def _trusting(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authorities and Path(authorities).exists():
        context.load_verify_locations(authorities)
    return context


def main() -> None:
    """Arguments: the attempts, and the file that is written to beside the standard output."""
    found = reach_all([ReachabilityTarget(**values) for values in json.loads(sys.argv[1])])
    text = "".join(f"{json.dumps({key: value for key, value in asdict(one).items() if value})}\n" for one in found)
    sys.stdout.write(text)
    for path in sys.argv[2:]:
        Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
